//! Credit: how much the peer may send on one stream, and how that grows.

use std::time::{Duration, Instant};

use super::error::TunnelError;

/// The receiving end's account of one stream's credit.
///
/// The peer may have at most `size` bytes and the `extra` underway or unread. Credit is returned as the reader
/// takes bytes, half a window at a time, or [`STEP`] where that is less: a large window is not to
/// run half empty. If half a window has arrived within half a round trip, the window may be what
/// holds the sender back, so it doubles; a reader that catches up with old bytes does not count.
///
/// On a [`SHORT_PATH`] it does not: what a window must cover there is not the path but the time until
/// a busy process comes to it. A stream that has the tunnel to itself gets an `extra` for that, which
/// no other has to wait behind; as soon as there are others, it is taken back by returning less.
#[derive(Debug)]
pub(crate) struct Window {
    size: usize,
    extra: usize,
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

/// The most that a stream gets for having the tunnel to itself; a stream that comes then waits for
/// this much, which takes 3 ms. With a quarter of it, a download over SSH on one machine is 15 % slower.
const MAX_EXTRA: usize = 4 * 1024 * 1024;

/// A round trip below which a window stays as it begins: 128 KiB in a millisecond are 1 Gbit/s for
/// each stream. What arrives together there tells how long a process was away, not that the sender
/// waits; grown by that, windows on one machine reach 1 MiB, and small requests wait behind it.
const SHORT_PATH: Duration = Duration::from_millis(1);

/// What a stream may grow by, and what for.
pub(crate) struct Growth<'a> {
    /// The least round trip seen on the path.
    pub(crate) round_trip: Option<Duration>,
    /// No other stream is open.
    pub(crate) is_alone: bool,
    /// The most that a window may have, without the extra.
    pub(crate) max: usize,
    /// What all windows together may still grow by.
    pub(crate) spare: &'a mut usize,
}

impl Growth<'_> {
    fn up_to(&mut self, wanted: usize) -> usize {
        let growth = wanted.min(*self.spare);
        *self.spare -= growth;
        growth
    }
}

impl Window {
    pub(crate) fn new(size: usize, now: Instant) -> Self {
        Self { size, extra: 0, available: size, taken: 0, received: 0, counted_from: now }
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
    /// time for that.
    pub(crate) fn take(&mut self, len: usize, now: Instant, mut by: Growth<'_>) -> Option<u32> {
        self.taken += len;
        if self.taken < (self.size / 2).min(STEP) {
            return None;
        }
        let mut grant = self.taken;
        if self.received >= self.size / 2 {
            let took = now.duration_since(self.counted_from);
            self.received = 0;
            self.counted_from = now;
            if by.round_trip.is_some_and(|least| least >= SHORT_PATH && took < least / 2) {
                let growth = by.up_to(self.size.min(by.max.saturating_sub(self.size)));
                self.size += growth;
                grant += growth;
            }
            if by.is_alone {
                let extra = by.up_to((self.size + self.extra).min(MAX_EXTRA - self.extra));
                self.extra += extra;
                grant += extra;
            }
        }
        if !by.is_alone {
            let back = self.extra.min(grant);
            self.extra -= back;
            *by.spare += back;
            grant -= back;
        }
        self.taken = 0;
        self.available += grant;
        u32::try_from(grant).ok().filter(|grant| *grant > 0)
    }

    /// The growth that goes back to the tunnel when the stream ends.
    pub(crate) fn growth(&self, initial: usize) -> usize {
        self.extra + self.size.saturating_sub(initial)
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

    /// As one of several streams.
    fn by(millis: Option<u64>, max: usize, spare: &mut usize) -> Growth<'_> {
        Growth { round_trip: millis.map(Duration::from_millis), is_alone: false, max, spare }
    }

    fn alone(spare: &mut usize) -> Growth<'_> {
        Growth { is_alone: true, ..by(None, KIB, spare) }
    }

    #[test]
    fn grants_half_a_window_at_a_time() {
        let now = Instant::now();
        let mut window = Window::new(KIB, now);
        let mut spare = KIB;
        assert_eq!(window.take(KIB / 2 - 1, now, by(None, KIB, &mut spare)), None);
        assert_eq!(window.take(1, now, by(None, KIB, &mut spare)), Some(512));
    }

    #[test]
    fn grows_only_while_it_holds_the_sender_back() {
        let start = Instant::now();
        let mut window = Window::new(KIB, start);
        let mut spare = 100 * KIB;
        let soon = start + Duration::from_millis(40);
        window.receive(KIB / 2).unwrap();
        let grant = window.take(KIB / 2, soon, by(Some(100), 4 * KIB, &mut spare));
        assert_eq!(grant, Some(1536));
        let later = soon + Duration::from_millis(250);
        window.receive(KIB).unwrap();
        assert_eq!(window.take(KIB, later, by(Some(100), 4 * KIB, &mut spare)), Some(1024));
        assert_eq!((window.growth(KIB), spare), (KIB, 99 * KIB));
    }

    #[test]
    fn stays_as_it_is_on_a_short_path() {
        let now = Instant::now();
        let mut spare = 100 * KIB;
        let mut window = Window::new(KIB, now);
        for (round_trip, grant) in [(999, 1024), (1000, 2048)] {
            let round_trip = Some(Duration::from_micros(round_trip));
            window.receive(KIB).unwrap();
            let by = Growth { round_trip, ..by(None, 4 * KIB, &mut spare) };
            assert_eq!(window.take(KIB, now, by), Some(grant));
        }
    }

    #[test]
    fn grows_no_further_than_stream_and_tunnel_allow() {
        let now = Instant::now();
        let mut spare = 100 * KIB;
        let mut window = Window::new(KIB, now);
        for _ in 0..20 {
            window.receive(window.size / 2).unwrap();
            window.take(window.size / 2, now, by(Some(1000), 4 * KIB, &mut spare));
        }
        assert_eq!((window.growth(KIB), spare), (3 * KIB, 97 * KIB));
        let mut none = 0;
        let mut window = Window::new(KIB, now);
        window.receive(KIB).unwrap();
        assert_eq!(window.take(KIB, now, by(Some(1000), 4 * KIB, &mut none)), Some(1024));
    }

    #[test]
    fn does_not_grow_when_a_slow_reader_catches_up() {
        let start = Instant::now();
        let mut window = Window::new(KIB, start);
        let mut spare = 100 * KIB;
        window.receive(KIB).unwrap();
        let late = start + Duration::from_secs(10);
        for _ in 0..2 {
            assert_eq!(window.take(KIB / 2, late, by(Some(1000), KIB, &mut spare)), Some(512));
        }
    }

    #[test]
    fn a_lone_stream_has_more_and_gives_it_back() {
        let now = Instant::now();
        let mut spare = 100 * KIB;
        let mut window = Window::new(KIB, now);
        for grant in [2 * KIB, 3 * KIB] {
            window.receive(KIB).unwrap();
            assert_eq!(window.take(KIB, now, alone(&mut spare)), Some(grant as u32));
        }
        assert_eq!((window.growth(KIB), spare), (3 * KIB, 97 * KIB));
        for (taken, grant) in [(2 * KIB, None), (2 * KIB, Some(1024)), (KIB, Some(1024))] {
            assert_eq!(window.take(taken, now, by(None, KIB, &mut spare)), grant);
        }
        assert_eq!((window.growth(KIB), spare), (0, 100 * KIB));
    }

    #[test]
    fn a_lone_stream_has_no_more_than_the_limit() {
        let now = Instant::now();
        let mut spare = usize::MAX;
        let mut window = Window::new(KIB, now);
        for _ in 0..40 {
            window.receive(window.available).unwrap();
            window.take(KIB, now, alone(&mut spare));
        }
        assert_eq!(window.growth(KIB), MAX_EXTRA);
        spare = 0;
        let mut poor = Window::new(KIB, now);
        poor.receive(KIB).unwrap();
        assert_eq!(poor.take(KIB, now, alone(&mut spare)), Some(1024));
    }
}
