//! The mappings that both ends share: `config.json`, parsed once into domain types.
//!
//! A [`Config`] is an immutable snapshot. A request takes one snapshot when it starts and keeps it
//! to its end, so a reload never changes a request half-way.

mod route;

use std::collections::HashMap;
use std::sync::Arc;

pub use self::route::{HostPolicy, Route, Scheme, Target, TargetTls};
use crate::condition::Condition;

/// One snapshot of all mappings.
#[derive(Debug, Default)]
pub struct Config {
    routes: HashMap<Condition, Arc<Route>>,
    digest: String,
}

impl Config {
    /// The route that `condition` names.
    pub fn route(&self, condition: &Condition) -> Option<&Arc<Route>> {
        self.routes.get(condition)
    }

    /// All routes, in no particular order.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = &Arc<Route>> {
        self.routes.values()
    }

    /// Names the content: two ends with equal digests hold the same `config.json` text.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}
