//! Where fields are kept, in a pool of the thread.

use std::cell::RefCell;
use std::ops::Range;

use super::bytes::{is_value, is_value_byte};
use super::{Field, Name};

/// Where a field is in the text.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) known: Option<Name>,
    /// Empty for a known name.
    pub(super) name: Span,
    pub(super) value: Span,
}

#[derive(Clone, Copy)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// Up to `end`. Whoever lets text grow beyond 4 GiB refuses it.
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, len: (end - start) as u32 }
    }

    fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }
}

/// Where fields are. It goes round in a pool of the thread: malloc has no quick path for so much.
#[derive(Default)]
pub(super) struct Room {
    pub(super) text: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

/// Rooms that are kept.
pub(super) const KEPT: usize = 64;

/// What a new room holds: about twice what the usual request has, and what the bridge adds.
pub(super) const TEXT: usize = 1024;
const ENTRIES: usize = 32;

/// What has grown larger than this many times a new one was for a rare message, and is let go.
pub(super) const GROWN: usize = 4;

thread_local! {
    pub(super) static ROOMS: RefCell<Vec<Room>> = const { RefCell::new(Vec::new()) };
}

impl Room {
    pub(super) fn take() -> Self {
        let spare = ROOMS.with_borrow_mut(Vec::pop);
        spare.unwrap_or_else(|| Self {
            text: Vec::with_capacity(TEXT),
            entries: Vec::with_capacity(ENTRIES),
        })
    }

    fn is_worth_keeping(&self) -> bool {
        (1..=GROWN * TEXT).contains(&self.text.capacity())
            && (1..=GROWN * ENTRIES).contains(&self.entries.capacity())
    }

    pub(super) fn text(&self, span: Span) -> &[u8] {
        self.text.get(span.range()).unwrap_or_default()
    }

    pub(super) fn field(&self, entry: &Entry) -> Field<'_> {
        let name = match entry.known {
            Some(name) => name.as_str().as_bytes(),
            None => self.text(entry.name),
        };
        Field { known: entry.known, name, value: self.text(entry.value) }
    }

    /// A field that the bridge makes.
    pub(super) fn made(&mut self, name: Name, parts: &[&[u8]]) -> Entry {
        let start = self.text.len();
        parts.iter().for_each(|part| self.text.extend_from_slice(part));
        let value = self.text.get_mut(start..).unwrap_or_default();
        if !is_value(value) {
            value.iter_mut().filter(|byte| !is_value_byte(**byte)).for_each(|byte| *byte = b'?');
        }
        let (name, known) = (Span::new(start, start), Some(name));
        Entry { known, name, value: Span::new(start, self.text.len()) }
    }

    /// Keeps the room for the next message, unless it is for a rare one.
    pub(super) fn recycle(mut self) {
        if !self.is_worth_keeping() {
            return;
        }
        self.text.clear();
        self.entries.clear();
        // Past the thread's end there is no pool.
        let _ = ROOMS.try_with(|rooms| {
            let mut rooms = rooms.borrow_mut();
            if rooms.len() < KEPT {
                rooms.push(self);
            }
        });
    }
}
