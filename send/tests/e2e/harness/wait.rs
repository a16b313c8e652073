//! Waiting: for a state, with a limit.

use std::time::{Duration, Instant};

/// How long anything may take. Far above what a healthy machine needs; only a hang reaches it.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Looks until there is something to see.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
