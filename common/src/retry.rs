//! Trying again until it works: the pause between tries, and what the log hears of them.

use std::time::Duration;

use crate::backoff::{Backoff, BackoffConfig};

/// The longest pause. Short, because the first request after an outage waits for it.
const PAUSE: Duration = Duration::from_millis(250);

/// One thing that is tried until it works.
///
/// The log hears why it fails once, and again when the reason changes; never each time.
#[derive(Debug)]
pub struct Retry {
    /// What is tried, for the log.
    what: String,
    backoff: Backoff,
    reason: String,
    failures: u64,
}

impl Retry {
    /// Not tried yet.
    pub fn new(what: impl Into<String>) -> Self {
        Self::with_longest_pause(what, PAUSE)
    }

    /// The same, with pauses of up to `cap`.
    pub fn with_longest_pause(what: impl Into<String>, cap: Duration) -> Self {
        let backoff = Backoff::new(BackoffConfig { cap, ..BackoffConfig::default() });
        Self { what: what.into(), backoff, reason: String::new(), failures: 0 }
    }

    /// A try has failed. Returns how long to wait before the next.
    pub fn failed(&mut self, reason: &str) -> Duration {
        self.failures += 1;
        if reason != self.reason {
            tracing::warn!(what = self.what, reason, "does not work; trying on");
            reason.clone_into(&mut self.reason);
        }
        self.backoff.after(Duration::ZERO)
    }

    /// A try has worked.
    pub fn worked(&mut self) {
        if self.failures > 1 {
            tracing::info!(what = self.what, failed = self.failures, "works at last");
        }
        self.failures = 0;
        self.reason.clear();
    }

    /// What had worked is over after it `lived` this long. Returns how long to wait before the
    /// next try.
    pub fn ended(&mut self, lived: Duration) -> Duration {
        self.backoff.after(lived)
    }
}
