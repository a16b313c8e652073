//! The line of those that wait to open a stream.

use std::collections::BTreeMap;
use std::task::{Context, Waker};

/// Tasks that wait to open a stream, in the order in which they came. A place in the line is kept
/// until its stream is open or the task gives up, so that nobody is passed by.
#[derive(Default)]
pub(super) struct Openers {
    next: u64,
    /// `None`: the task was woken and has not looked since.
    line: BTreeMap<u64, Option<Waker>>,
}

/// A place in the line, once its holder had to wait.
#[derive(Debug, Default)]
pub(crate) struct Ticket(Option<u64>);

impl Openers {
    /// Whether the ticket's holder is among the first `free`.
    pub(super) fn may_open(&self, ticket: &Ticket, free: usize) -> bool {
        let before = self.line.range(..ticket.0.unwrap_or(u64::MAX));
        before.take(free).count() < free
    }

    pub(super) fn wait(&mut self, ticket: &mut Ticket, cx: &Context<'_>) {
        let number = *ticket.0.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.line.insert(number, Some(cx.waker().clone()));
    }

    /// Whether there was a place to leave.
    pub(super) fn leave(&mut self, ticket: &mut Ticket) -> bool {
        ticket.0.take().is_some_and(|number| self.line.remove(&number).is_some())
    }

    /// Wakes the first `free`.
    pub(super) fn wake(&mut self, free: usize) {
        self.line.values_mut().take(free).filter_map(Option::take).for_each(Waker::wake);
    }
}
