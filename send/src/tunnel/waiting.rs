//! Connections that have not proved anything yet: how many there are, and how they ended.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Display;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// The connections whose handshake is under way, at most [`Self::CAPACITY`].
///
/// One more displaces the oldest and not the newest: an honest handshake takes a few round trips,
/// so a flood of silent connections costs mostly itself.
#[derive(Default)]
pub(super) struct Waiting(VecDeque<CancellationToken>);

impl Waiting {
    /// A handshake holds some 40 KiB, so this is about 10 MiB.
    const CAPACITY: usize = 256;

    /// Enters a connection. It counts until the guard is dropped, and must end when the guard's
    /// token is cancelled.
    pub(super) fn enter(&mut self) -> Place {
        // Who has left has cancelled.
        self.0.retain(|place| !place.is_cancelled());
        if self.0.len() >= Self::CAPACITY
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.cancel();
        }
        let place = CancellationToken::new();
        self.0.push_back(place.clone());
        Place(place)
    }
}

/// A place among the [`Waiting`].
pub(super) struct Place(CancellationToken);

impl Place {
    /// Resolves when the place was given to another connection.
    pub(super) async fn displaced(&self) {
        self.0.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Logs refused connections, at most once per second; the others are counted.
#[derive(Default)]
pub(super) struct Refusals(RefCell<Option<(Instant, u64)>>);

impl Refusals {
    const INTERVAL: Duration = Duration::from_secs(1);

    pub(super) fn report(&self, address: &dyn Display, reason: &str) {
        let mut logged = self.0.borrow_mut();
        match logged.as_mut() {
            Some((at, unlogged)) if at.elapsed() < Self::INTERVAL => *unlogged += 1,
            last => {
                let unlogged = last.map_or(0, |(_, unlogged)| *unlogged);
                tracing::warn!(%address, reason, unlogged, "refused a tunnel connection");
                *logged = Some((Instant::now(), 0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_for_the_newest() {
        let mut waiting = Waiting::default();
        let places: Vec<_> = (0..Waiting::CAPACITY).map(|_| waiting.enter()).collect();
        let displaced =
            |places: &[Place]| places.iter().filter(|place| place.0.is_cancelled()).count();
        assert_eq!(displaced(&places), 0);
        let newest = waiting.enter();
        assert!(places[0].0.is_cancelled() && !newest.0.is_cancelled());
        assert_eq!(displaced(&places), 1);
    }

    #[test]
    fn who_leaves_makes_room() {
        let mut waiting = Waiting::default();
        let stays = waiting.enter();
        for _ in 0..10 * Waiting::CAPACITY {
            drop(waiting.enter());
        }
        assert!(!stays.0.is_cancelled());
        assert!(waiting.0.len() <= 2);
    }
}
