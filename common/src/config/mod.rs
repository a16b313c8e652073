//! The mappings that both ends share: `config.json`, parsed once into domain types.
//!
//! A [`Config`] is an immutable snapshot. A request takes one snapshot when it starts and keeps it
//! to its end, so a reload never changes a request half-way.
//!
//! `document` names the fields, `reader` and `object` walk through the text and note every
//! mistake, `value` and `target` read single values, `parse` joins them into routes; [`watch`]
//! reloads.

mod document;
mod load;
mod object;
mod parse;
mod problem;
mod reader;
mod route;
mod scalar;
mod target;
mod value;
pub mod watch;

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

pub use self::document::schema;
pub use self::load::LoadError;
pub use self::problem::{Problem, Problems};
pub use self::route::{Downstream, Health, HostPolicy, Route, Scheme, Target, TargetTls};
use crate::condition::Condition;

/// One snapshot of all mappings.
#[derive(Debug, Default)]
pub struct Config {
    routes: HashMap<Condition, Arc<Route>>,
    digest: String,
}

impl Config {
    /// Parses the text of a `config.json`, at most 4 MiB with at most 10 000 mappings.
    ///
    /// `source` names the file in messages, and its folder is where relative CA paths start; no
    /// file is read. The error holds every mistake.
    pub fn parse(text: &str, source: &Path) -> Result<Self, Problems> {
        Self::from_bytes(text.as_bytes(), source)
    }

    /// The route that `condition` names.
    pub fn route(&self, condition: &Condition) -> Option<&Arc<Route>> {
        self.routes.get(condition)
    }

    /// All routes, in no particular order.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = &Arc<Route>> {
        self.routes.values()
    }

    /// All conditions, in the order of their text.
    pub fn conditions(&self) -> impl ExactSizeIterator<Item = &Condition> {
        let mut conditions: Vec<_> = self.routes.keys().collect();
        conditions.sort_unstable();
        conditions.into_iter()
    }

    /// Names the content: two ends with equal digests hold the same `config.json` text. 16 hex
    /// digits of its SHA-256; empty for [`Config::default`], which has no text.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    fn from_bytes(bytes: &[u8], source: &Path) -> Result<Self, Problems> {
        let routes = parse::routes_from_bytes(bytes, source)?.into_iter();
        Ok(Self {
            routes: routes.map(|route| (route.condition.clone(), Arc::new(route))).collect(),
            digest: digest_of(bytes),
        })
    }
}

/// The first 8 bytes of the SHA-256 of `bytes` in hex: enough to tell texts apart, short enough to
/// be read aloud.
fn digest_of(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().take(8).fold(String::new(), |mut hex, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests;
