//! How long to wait before the next try to connect.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// The limits of a [`Backoff`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BackoffConfig {
    /// The most that the second retry waits; each further one may wait twice as long. Default:
    /// 100 ms.
    pub base: Duration,
    /// The most that any retry waits. Default: 5 s.
    pub cap: Duration,
    /// How long a session lives before it counts as a success. Default: 10 s.
    pub settled: Duration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(100),
            cap: Duration::from_secs(5),
            settled: Duration::from_secs(10),
        }
    }
}

/// Spaces retries: the first at once, then at random within an exponentially growing limit.
///
/// The whole wait is random ("full jitter"), so that many peers that lost the same server do not
/// come back in step. A session that ends soon after it began counts as a failure: a peer that
/// accepts and hangs up is not dialled in a busy loop.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    config: BackoffConfig,
    failures: u32,
}

impl Backoff {
    /// A backoff without failures.
    pub fn new(config: BackoffConfig) -> Self {
        Self { config, failures: 0 }
    }

    /// How long to wait now that a session has ended that `lived` this long; zero for one that
    /// never began.
    pub fn after(&mut self, lived: Duration) -> Duration {
        if lived >= self.config.settled {
            self.failures = 0;
        }
        let limit = self.limit();
        self.failures = self.failures.saturating_add(1);
        limit.mul_f64(random())
    }

    /// The most that the next retry waits.
    fn limit(&self) -> Duration {
        let Some(doublings) = self.failures.checked_sub(1) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.config.base.saturating_mul(factor).min(self.config.cap)
    }
}

/// A number in `0.0..1.0` that an attacker may guess: it only spreads load.
pub(crate) fn random() -> f64 {
    // Every `RandomState` of a thread has other keys, so that its hash of nothing is a new draw.
    // The upper 53 bits are what an f64 holds exactly.
    (RandomState::new().hash_one(()) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Duration = Duration::ZERO;

    #[test]
    fn the_first_retry_is_immediate() {
        assert_eq!(Backoff::default().after(FAILED), Duration::ZERO);
    }

    #[test]
    fn limits_double_up_to_the_cap() {
        let mut backoff = Backoff::default();
        let mut limits = Vec::new();
        for _ in 0..9 {
            limits.push(backoff.limit().as_millis());
            backoff.after(FAILED);
        }
        assert_eq!(limits, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.failures = u32::MAX;
        backoff.after(FAILED);
        assert_eq!(backoff.limit(), BackoffConfig::default().cap);
    }

    #[test]
    fn waits_spread_over_the_whole_limit() {
        let limit = Duration::from_secs(5);
        let waits: Vec<_> = (0..10_000)
            .map(|_| Backoff { failures: 20, ..Backoff::default() }.after(FAILED))
            .collect();
        assert!(waits.iter().all(|&wait| wait < limit));
        // Each quarter expects 2500 draws with a standard deviation of 43: 2000 is 11 of them off.
        for quarter in 0..4 {
            let range = limit * quarter / 4..limit * (quarter + 1) / 4;
            let hits = waits.iter().filter(|&wait| range.contains(wait)).count();
            assert!(hits > 2000, "{hits} of 10000 waits are in {range:?}");
        }
    }

    #[test]
    fn only_a_session_that_lived_starts_over() {
        let mut backoff = Backoff { failures: 20, ..Backoff::default() };
        backoff.after(Duration::from_millis(9_999));
        assert_eq!(backoff.limit(), Duration::from_secs(5));
        assert_eq!(backoff.after(Duration::from_secs(10)), Duration::ZERO);
        assert_eq!(backoff.limit(), Duration::from_millis(100));
    }
}
