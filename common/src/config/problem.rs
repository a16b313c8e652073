//! What is wrong with a `config.json`: all mistakes of one text, each with its place.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// One mistake, displayed as `config.json:7: data[2].port: "80x" is not a port: write …`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The file, as it was named to the parser.
    pub file: Arc<Path>,
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes, from 1; only where the text is not JSON, so that there is no path.
    pub column: Option<usize>,
    /// Where the mistake is in the document, such as `data[2].port`; empty for the document itself.
    pub path: String,
    /// What is wrong and what to do. Secrets in a URL are left out, control characters escaped.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)?;
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Every mistake of one text, in the order of their lines; displayed with one line per mistake.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Problems {
    list: Vec<Problem>,
    omitted: usize,
}

impl Problems {
    /// How many mistakes are kept; more are only counted.
    pub const MAX: usize = 100;

    /// The mistakes that are kept.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.list.iter()
    }

    /// How many mistakes there are, those over [`Problems::MAX`] included.
    pub fn count(&self) -> usize {
        self.list.len() + self.omitted
    }

    /// Adds a mistake; `problem` is not called when there is no room for it.
    pub(super) fn add(&mut self, problem: impl FnOnce() -> Problem) {
        match self.list.len() < Self::MAX {
            true => self.list.push(problem()),
            false => self.omitted += 1,
        }
    }

    /// `value` if nothing is wrong.
    pub(super) fn or<T>(mut self, value: Option<T>) -> Result<T, Self> {
        if let Some(value) = value.filter(|_| self.list.is_empty()) {
            return Ok(value);
        }
        self.list.sort_by_key(|problem| problem.line);
        Err(self)
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self { list: vec![problem], omitted: 0 }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        match self.omitted {
            0 => Ok(()),
            omitted => write!(f, "\nand {omitted} more problems"),
        }
    }
}

impl std::error::Error for Problems {}
