//! The fields of a message: a list over one buffer of text.
//!
//! [`http::HeaderMap`] hashes every name, and counts references to every value; this asks of a
//! message only what the bridge must know of it, and passes the rest on. HTTP/2 and trailers are in
//! the types of `http`, and are converted.

mod bytes;
mod name;
mod room;

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use self::bytes::{LOWER, is_value};
pub use self::name::{Name, Names};
use self::room::{Entry, Room, Span};

/// The fields of a head or of a trailer section, in their order. Names are in lower case; no name
/// and no value holds what would end it early.
#[derive(Default)]
pub struct Fields {
    room: Room,
    present: Names,
}

/// One field.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    /// What it is to the bridge.
    pub known: Option<Name>,
    /// Its name, in lower case.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

/// A name or a value holds what none may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a field: its name or value holds what none may hold")]
pub struct InvalidField;

impl Fields {
    /// No fields, with room for some.
    pub fn new() -> Self {
        Self { room: Room::take(), present: Names::default() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.room.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.room.entries.is_empty()
    }

    /// Whether a field is there.
    pub fn contains(&self, name: Name) -> bool {
        self.present.contains(name)
    }

    /// Whether one of some fields is there.
    pub fn has_any(&self, names: Names) -> bool {
        self.present.has_any(names)
    }

    /// The value of the first field of this name.
    pub fn get(&self, name: Name) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The values of all fields of this name.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let entries = match self.contains(name) {
            true => self.room.entries.as_slice(),
            false => &[],
        };
        entries
            .iter()
            .filter(move |entry| entry.known == Some(name))
            .map(|entry| self.room.text(entry.value))
    }

    /// The comma-separated elements of all fields of this name (RFC 9110 §5.6.1). Bytes, because a
    /// value need not be text, and one odd byte must not hide the elements beside it.
    pub fn elements(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|element| !element.is_empty())
    }

    /// All fields.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Field<'_>> {
        self.room.entries.iter().map(|entry| self.room.field(entry))
    }

    /// Adds a field. Bytes that no value may hold become `?`.
    pub fn append(&mut self, name: Name, value: &[u8]) {
        self.append_parts(name, &[value]);
    }

    /// Adds a field whose value is these parts, one after the other. Bytes that no value may hold
    /// become `?`.
    pub fn append_parts(&mut self, name: Name, parts: &[&[u8]]) {
        let entry = self.room.made(name, parts);
        self.room.entries.push(entry);
        self.present.add(name);
    }

    /// Makes this the only field of its name, where the first one was. Bytes that no value may hold
    /// become `?`.
    pub fn insert(&mut self, name: Name, value: &[u8]) {
        if !self.contains(name) {
            return self.append(name, value);
        }
        let entry = self.room.made(name, &[value]);
        let mut first = Some(entry);
        self.room.entries.retain_mut(|old| match old.known == Some(name) {
            true => first.take().map(|new| *old = new).is_some(),
            false => true,
        });
    }

    /// Removes all fields of this name.
    pub fn remove(&mut self, name: Name) {
        if self.contains(name) {
            self.room.entries.retain(|entry| entry.known != Some(name));
            self.present.remove(name);
        }
    }

    /// Keeps the fields that are to be kept.
    pub fn retain(&mut self, keep: impl Fn(Field<'_>) -> bool) {
        let mut entries = std::mem::take(&mut self.room.entries);
        let before = entries.len();
        entries.retain(|entry| keep(self.room.field(entry)));
        // Most often all are kept.
        if entries.len() != before {
            self.present = Names::default();
            entries.iter().filter_map(|entry| entry.known).for_each(|name| self.present.add(name));
        }
        self.room.entries = entries;
    }

    /// Adds a field that comes from outside.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), InvalidField> {
        // RFC 9110 §5.1 and §5.5.
        match !name.is_empty() && is_value(value) {
            true => self.push_parsed(name, value),
            false => Err(InvalidField),
        }
    }

    /// Adds a field of which a parser has found that it has a name, and that its value holds nothing
    /// that would end it.
    pub(crate) fn push_parsed(&mut self, name: &[u8], value: &[u8]) -> Result<(), InvalidField> {
        let text = &mut self.room.text;
        let start = text.len();
        let mut is_name = true;
        text.extend(name.iter().map(|byte| {
            let lower = LOWER[usize::from(*byte)];
            is_name &= lower != 0;
            lower
        }));
        let known = Name::of(text.get(start..).unwrap_or_default());
        if known.is_some() {
            text.truncate(start);
        }
        let middle = text.len();
        text.extend_from_slice(value);
        // What does not fit is over every limit that a head has.
        if !is_name || u32::try_from(text.len()).is_err() {
            text.truncate(start);
            return Err(InvalidField);
        }
        let (name, value) = (Span::new(start, middle), Span::new(middle, text.len()));
        self.room.entries.push(Entry { known, name, value });
        known.into_iter().for_each(|name| self.present.add(name));
        Ok(())
    }
}

#[cfg(test)]
impl Fields {
    /// These fields.
    pub(crate) fn of(list: &[(&str, &str)]) -> Self {
        let mut fields = Self::new();
        for (name, value) in list {
            fields.push(name.as_bytes(), value.as_bytes()).unwrap();
        }
        fields
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        std::mem::take(&mut self.room).recycle();
    }
}

impl Clone for Fields {
    fn clone(&self) -> Self {
        let mut clone = Self::new();
        clone.room.text.extend_from_slice(&self.room.text);
        clone.room.entries.extend_from_slice(&self.room.entries);
        clone.present = self.present;
        clone
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |field: Field<'_>| {
            (field.name.escape_ascii().to_string(), field.value.escape_ascii().to_string())
        };
        f.debug_map().entries(self.iter().map(text)).finish()
    }
}

/// The order of fields with different names says nothing (RFC 9110 §5.3).
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        HeaderMap::from(self) == HeaderMap::from(other)
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        let mut fields = Self::new();
        for (name, value) in map {
            // Both are what their types say, and together shorter than 4 GiB.
            let _ = fields.push_parsed(name.as_str().as_bytes(), value.as_bytes());
        }
        fields
    }
}

impl From<&Fields> for HeaderMap {
    fn from(fields: &Fields) -> Self {
        let mut map = Self::try_with_capacity(fields.len()).unwrap_or_default();
        for Field { name, value, .. } in fields.iter() {
            // Both were checked when they came, and a head has fewer than a map holds.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                let _ = map.try_append(name, value);
            }
        }
        map
    }
}

#[cfg(test)]
mod tests;
