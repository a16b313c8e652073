//! The streams that wait for room in the out buffer.

use std::collections::VecDeque;

/// How many bulky streams get a turn at a time: what fits between low water and the room.
const BULKY_AT_ONCE: usize = 4;

/// The same for small ones: heads, trailers, the beginnings of bodies.
const SMALL_AT_ONCE: usize = 28;

/// Two lines, so that small exchanges need not wait behind bulky ones. A stream stands in at most
/// one of them, once.
#[derive(Default)]
pub(super) struct Queue {
    small: VecDeque<u32>,
    bulky: VecDeque<u32>,
    /// Bulky streams whose turn it is, and that have not used it.
    called: Vec<u32>,
}

impl Queue {
    pub(super) fn push_small(&mut self, id: u32) {
        self.small.push_back(id);
    }

    /// `called` puts a stream first: it had its turn, and others took the room.
    pub(super) fn push_bulky(&mut self, id: u32, called: bool) {
        match called {
            true => self.bulky.push_front(id),
            false => self.bulky.push_back(id),
        }
    }

    /// Whether bulky streams wait, so that others must not take the room before them.
    pub(super) fn has_bulky(&self) -> bool {
        !self.bulky.is_empty() || !self.called.is_empty()
    }

    /// A stream has used its turn.
    pub(super) fn served(&mut self, id: u32) {
        self.called.retain(|called| *called != id);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.bulky.is_empty()
    }

    /// Takes a stream out that has ended.
    pub(super) fn remove(&mut self, id: u32) {
        self.small.retain(|queued| *queued != id);
        self.bulky.retain(|queued| *queued != id);
        self.served(id);
    }

    /// The streams whose turn it is now.
    pub(super) fn call(&mut self) -> impl Iterator<Item = u32> {
        self.called.clear();
        self.called.extend(self.bulky.drain(..self.bulky.len().min(BULKY_AT_ONCE)));
        let small = self.small.drain(..self.small.len().min(SMALL_AT_ONCE));
        small.chain(self.called.iter().copied())
    }
}
