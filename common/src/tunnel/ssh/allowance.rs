//! What a peer may send besides the tunnel: changes of keys, answers, credit, and what it should not.

use std::time::Instant;

/// A budget of bytes that are not the tunnel's.
///
/// What arrives is paid for at once and given back when it turns out to be the tunnel's. A peer
/// that changes keys or asks for channels as fast as it can runs out: a change of keys takes some
/// 2.5 KB, so that it can have about 100 per second.
#[derive(Debug)]
pub(super) struct Allowance {
    left: usize,
    refilled_at: Instant,
}

impl Allowance {
    /// The frame of an SSH packet, with some room.
    pub(super) const PER_MESSAGE: usize = 96;

    /// Which part of what is sent may come back as credit. OpenSSH needs a 2000th, clients with
    /// small windows up to a 400th.
    pub(super) const CREDIT_SHARE: usize = 64;

    /// The most that may have arrived and not been told apart yet: 16 messages of 64 KiB wait for
    /// the reader, and as much again may be anything else.
    const MAX: usize = 2 * 1024 * 1024;

    /// Comes back each second.
    const PER_SECOND: usize = 256 * 1024;

    /// Pays for what has arrived. Returns whether there was enough.
    pub(super) fn spend(&mut self, bytes: usize) -> bool {
        self.refill(Instant::now());
        let rest = self.left.checked_sub(bytes);
        self.left = rest.unwrap_or(0);
        rest.is_some()
    }

    /// Gives back.
    pub(super) fn add(&mut self, bytes: usize) {
        self.left = self.left.saturating_add(bytes).min(Self::MAX);
    }

    fn refill(&mut self, now: Instant) {
        let micros = now.saturating_duration_since(self.refilled_at).as_micros();
        let gained = usize::try_from(micros).unwrap_or(Self::MAX).saturating_mul(Self::PER_SECOND)
            / 1_000_000;
        if gained > 0 {
            self.refilled_at = now;
            self.add(gained);
        }
    }
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: Self::MAX, refilled_at: Instant::now() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_the_tunnels_costs_nothing() {
        let mut allowance = Allowance::default();
        for _ in 0..10_000 {
            assert!(allowance.spend(65_535 + 40));
            allowance.add(65_535 + Allowance::PER_MESSAGE);
        }
    }

    #[test]
    fn anything_else_runs_out_and_comes_back() {
        let mut allowance = Allowance::default();
        let messages = (0..10_000).take_while(|_| allowance.spend(2500)).count();
        let expected = Allowance::MAX / 2500;
        assert!((expected..expected + 100).contains(&messages), "{messages}");
        let later = allowance.refilled_at + Duration::from_secs(1);
        allowance.refill(later);
        assert!(allowance.left >= Allowance::PER_SECOND);
        allowance.refill(later + Duration::from_secs(1000));
        assert_eq!(allowance.left, Allowance::MAX);
    }
}
