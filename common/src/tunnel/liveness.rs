//! Liveness: when to send a PING, and when to give a peer up.

use std::time::{Duration, Instant};

use super::error::TunnelError;
use super::limits::Limits;

/// The clock of one tunnel. Every byte from the peer is a sign of life, and each side sends at
/// least a PING per interval, so that silence means loss also while one direction is full.
#[derive(Debug)]
pub(crate) struct Liveness {
    heard_at: Instant,
    next_ping: Instant,
    next_nonce: u64,
    /// The PING that measures the round trip, until its PONG comes.
    measuring: Option<(u64, Instant)>,
    round_trip: Option<Duration>,
    /// Since when the transport has taken nothing of what there is to send.
    stalled_since: Option<Instant>,
}

impl Liveness {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            heard_at: now,
            next_ping: now,
            next_nonce: 0,
            measuring: None,
            round_trip: None,
            stalled_since: None,
        }
    }

    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// The transport has taken some bytes; `left` tells whether there are more.
    pub(crate) fn wrote(&mut self, left: bool, now: Instant) {
        self.stalled_since = left.then_some(now);
    }

    /// There are bytes to send.
    pub(crate) fn has_output(&mut self, now: Instant) {
        self.stalled_since.get_or_insert(now);
    }

    /// A PING to send: its nonce.
    pub(crate) fn ping(&mut self, now: Instant) -> u64 {
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        self.measuring.get_or_insert((nonce, now));
        nonce
    }

    pub(crate) fn pong(&mut self, nonce: u64, now: Instant) {
        let Some((_, sent_at)) = self.measuring.take_if(|(measured, _)| *measured == nonce) else {
            return;
        };
        let sample = now.duration_since(sent_at);
        self.round_trip = Some(self.round_trip.map_or(sample, |least| least.min(sample)));
    }

    /// The least round trip seen: the path's own, without the wait in full buffers.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// When to call [`Self::check`] next.
    pub(crate) fn deadline(&self, limits: &Limits) -> Instant {
        let silent = self.heard_at + limits.silence;
        let stalled = self.stalled_since.map_or(silent, |since| since + limits.write_stall);
        self.next_ping.min(silent).min(stalled)
    }

    /// Whether a PING is due, or the peer is to be given up.
    pub(crate) fn check(&mut self, now: Instant, limits: &Limits) -> Result<bool, TunnelError> {
        if now >= self.heard_at + limits.silence {
            return Err(TunnelError::Silent(limits.silence));
        }
        if self.stalled_since.is_some_and(|since| now >= since + limits.write_stall) {
            return Err(TunnelError::WriteStalled(limits.write_stall));
        }
        let due = now >= self.next_ping;
        if due {
            self.next_ping = now + limits.ping_interval;
        }
        Ok(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_until_the_peer_is_silent_for_too_long() {
        let limits = Limits::default();
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        assert!(liveness.check(start, &limits).unwrap());
        assert!(!liveness.check(start, &limits).unwrap());
        let second = start + limits.ping_interval;
        assert_eq!(liveness.deadline(&limits), second);
        assert!(liveness.check(second, &limits).unwrap());
        let end = start + limits.silence;
        assert!(matches!(liveness.check(end, &limits), Err(TunnelError::Silent(_))));
        liveness.heard(end);
        assert!(liveness.check(end, &limits).is_ok());
    }

    #[test]
    fn gives_up_a_peer_that_does_not_read() {
        let limits = Limits::default();
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        liveness.has_output(start);
        let halfway = start + limits.write_stall / 2;
        liveness.heard(halfway);
        liveness.wrote(true, halfway);
        let end = halfway + limits.write_stall;
        liveness.heard(end);
        assert!(matches!(liveness.check(end, &limits), Err(TunnelError::WriteStalled(_))));
        liveness.wrote(false, end);
        assert!(liveness.check(end, &limits).is_ok());
    }

    #[test]
    fn measures_the_least_round_trip() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        for millis in [30, 20, 40] {
            let nonce = liveness.ping(start);
            liveness.pong(nonce + 1, start);
            liveness.pong(nonce, start + Duration::from_millis(millis));
        }
        assert_eq!(liveness.round_trip(), Some(Duration::from_millis(20)));
    }
}
