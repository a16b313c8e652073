//! Reads JSON without giving up: a mistake is noted with its place and reading goes on.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::object::Object;
use super::problem::{Problem, Problems};
use super::scalar::Scalar;
use super::value::Value;

/// JSON that is to be read as a `T`, still as written: deserialising it never fails, and its place
/// in the text is known.
pub(super) struct Spanned<'a, T> {
    raw: &'a RawValue,
    read_as: PhantomData<T>,
}

impl<'de: 'a, 'a, T> Deserialize<'de> for Spanned<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { raw: Deserialize::deserialize(deserializer)?, read_as: PhantomData })
    }
}

impl<'a, T> Spanned<'a, T> {
    /// The JSON as written; a slice of the text.
    pub(super) fn raw(&self) -> &'a str {
        self.raw.get()
    }
}

/// Reads one text and collects its [`Problems`].
pub(super) struct Reader<'a> {
    text: &'a str,
    file: Arc<Path>,
    problems: Problems,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, file: &Path) -> Self {
        // Editors on Windows may begin a file with a byte order mark, which JSON does not know.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { text, file: file.into(), problems: Problems::default() }
    }

    /// The whole text, once it is known to be JSON.
    pub(super) fn root<T>(&mut self) -> Option<Spanned<'a, T>> {
        let error = match serde_json::from_str(self.text) {
            Ok(raw) => return Some(Spanned { raw, read_as: PhantomData }),
            Err(error) => error,
        };
        let place = format!(" at line {} column {}", error.line(), error.column());
        let reason = error.to_string().replace(&place, "");
        self.problems.add(|| Problem {
            file: self.file.clone(),
            line: error.line().max(1),
            column: Some(error.column().max(1)),
            path: String::new(),
            message: format!("the text is not JSON: {reason}"),
        });
        None
    }

    /// The fields of an object; unknown and repeated ones are noted, `null` counts as absent.
    pub(super) fn object<T: Deserialize<'a>>(
        &mut self,
        at: &Spanned<'a, T>,
        path: &str,
    ) -> Option<T> {
        if !at.raw().starts_with('{') {
            let found = Scalar::from(at.raw);
            self.report(at.raw(), path, format_args!("{found} is not an object: write {{ … }}"));
            return None;
        }
        T::deserialize(Object { raw: at.raw, path, reader: self })
            .map_err(|error| self.report(at.raw(), path, error))
            .ok()
    }

    /// The elements of a list.
    pub(super) fn list<T>(
        &mut self,
        at: &Spanned<'a, Vec<Spanned<'a, T>>>,
        path: &str,
    ) -> Option<Vec<Spanned<'a, T>>> {
        if !at.raw().starts_with('[') {
            let found = Scalar::from(at.raw);
            self.report(at.raw(), path, format_args!("{found} is not a list: write [ … ]"));
            return None;
        }
        Deserialize::deserialize(at.raw).map_err(|error| self.report(at.raw(), path, error)).ok()
    }

    /// The value of a field, `None` if it is absent or wrong.
    pub(super) fn value<T: Value>(
        &mut self,
        at: Option<&Spanned<'a, T>>,
        path: impl fmt::Display,
    ) -> Option<T> {
        let at = at?;
        let found = Scalar::from(at.raw);
        T::parse(&found)
            .map_err(|complaint| self.report(at.raw(), path, format_args!("{found} {complaint}")))
            .ok()
    }

    /// Notes a mistake at `raw`, a slice of the text.
    pub(super) fn report(
        &mut self,
        raw: &str,
        path: impl fmt::Display,
        message: impl fmt::Display,
    ) {
        let line = self.line(raw);
        self.problems.add(|| Problem {
            file: self.file.clone(),
            line: line.number(),
            column: None,
            path: path.to_string(),
            message: message.to_string(),
        });
    }

    /// The line where `raw`, a slice of the text, begins.
    pub(super) fn line(&self, raw: &str) -> Line<'a> {
        let offset = raw.as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        Line { before: self.text.get(..offset).unwrap_or_default() }
    }

    /// `value` if nothing was noted.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Problems> {
        self.problems.or(value)
    }
}

/// A line of the text, displayed as its number. That is counted only when asked for: most mistakes
/// of a flood are never shown.
pub(super) struct Line<'a> {
    before: &'a str,
}

impl Line<'_> {
    /// Counted from 1.
    fn number(&self) -> usize {
        1 + self.before.bytes().filter(|byte| *byte == b'\n').count()
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}
