//! Credit: how much the peer may send on one stream, and how that grows.

use std::time::{Duration, Instant};

use super::error::TunnelError;

/// The receiving end's account of one stream's credit.
///
/// The peer may have at most `size` bytes underway or unread. Credit is returned as the reader
/// takes bytes, half a window at a time, or [`STEP`] where that is less: a large window is not to
/// run half empty. If half a window has arrived within half a round trip, the window may be what
/// holds the sender back, so it doubles. On a short path that rarely happens; a reader that catches
/// up with old bytes does not count.
#[derive(Debug)]
pub(crate) struct Window {
    size: usize,
    /// What the peer may still send.
    available: usize,
    /// What the reader has taken since the last grant.
    taken: usize,
    /// What has arrived since half a window had, or since the start.
    received: usize,
    counted_from: Instant,
}

/// The most that is held back before credit is returned.
const STEP: usize = 128 * 1024;

impl Window {
    pub(crate) fn new(size: usize, now: Instant) -> Self {
        Self { size, available: size, taken: 0, received: 0, counted_from: now }
    }

    /// Accounts for `len` bytes that have arrived.
    pub(crate) fn receive(&mut self, len: usize) -> Result<(), TunnelError> {
        self.available = self
            .available
            .checked_sub(len)
            .ok_or(TunnelError::Protocol("more DATA than there was credit for"))?;
        self.received += len;
        Ok(())
    }

    /// Accounts for `len` bytes that the reader has taken. Returns the credit to grant, if it is
    /// time for that. `spare` is what all windows together may still grow by.
    pub(crate) fn take(
        &mut self,
        len: usize,
        now: Instant,
        round_trip: Option<Duration>,
        max: usize,
        spare: &mut usize,
    ) -> Option<u32> {
        self.taken += len;
        if self.taken < (self.size / 2).min(STEP) {
            return None;
        }
        let mut grant = self.taken;
        if self.received >= self.size / 2 {
            let took = now.duration_since(self.counted_from);
            self.received = 0;
            self.counted_from = now;
            if round_trip.is_some_and(|round_trip| took < round_trip / 2) {
                let growth = self.size.min(max.saturating_sub(self.size)).min(*spare);
                *spare -= growth;
                self.size += growth;
                grant += growth;
            }
        }
        self.taken = 0;
        self.available += grant;
        u32::try_from(grant).ok()
    }

    /// The growth that goes back to the tunnel when the stream ends.
    pub(crate) fn growth(&self, initial: usize) -> usize {
        self.size.saturating_sub(initial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    #[test]
    fn refuses_more_than_was_granted() {
        let mut window = Window::new(KIB, Instant::now());
        assert!(window.receive(KIB).is_ok());
        assert!(window.receive(1).is_err());
    }

    #[test]
    fn grants_half_a_window_at_a_time() {
        let now = Instant::now();
        let mut window = Window::new(KIB, now);
        let mut spare = KIB;
        assert_eq!(window.take(KIB / 2 - 1, now, None, KIB, &mut spare), None);
        assert_eq!(window.take(1, now, None, KIB, &mut spare), Some(512));
    }

    #[test]
    fn grows_only_while_it_holds_the_sender_back() {
        let start = Instant::now();
        let round_trip = Some(Duration::from_millis(100));
        let mut window = Window::new(KIB, start);
        let mut spare = 100 * KIB;
        let soon = start + Duration::from_millis(40);
        window.receive(KIB / 2).unwrap();
        assert_eq!(window.take(KIB / 2, soon, round_trip, 4 * KIB, &mut spare), Some(1536));
        let later = soon + Duration::from_millis(250);
        window.receive(KIB).unwrap();
        assert_eq!(window.take(KIB, later, round_trip, 4 * KIB, &mut spare), Some(1024));
        assert_eq!((window.growth(KIB), spare), (KIB, 99 * KIB));
    }

    #[test]
    fn grows_no_further_than_stream_and_tunnel_allow() {
        let now = Instant::now();
        let round_trip = Some(Duration::from_secs(1));
        let mut spare = 100 * KIB;
        let mut window = Window::new(KIB, now);
        for _ in 0..20 {
            window.receive(window.size / 2).unwrap();
            window.take(window.size / 2, now, round_trip, 4 * KIB, &mut spare);
        }
        assert_eq!((window.growth(KIB), spare), (3 * KIB, 97 * KIB));
        let mut none = 0;
        let mut window = Window::new(KIB, now);
        window.receive(KIB).unwrap();
        assert_eq!(window.take(KIB, now, round_trip, 4 * KIB, &mut none), Some(1024));
    }

    #[test]
    fn does_not_grow_when_a_slow_reader_catches_up() {
        let start = Instant::now();
        let mut window = Window::new(KIB, start);
        let mut spare = 100 * KIB;
        window.receive(KIB).unwrap();
        let late = start + Duration::from_secs(10);
        for _ in 0..2 {
            let round_trip = Some(Duration::from_secs(1));
            assert_eq!(window.take(KIB / 2, late, round_trip, 4 * KIB, &mut spare), Some(512));
        }
    }
}
