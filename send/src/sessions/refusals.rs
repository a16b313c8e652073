//! Which siblings have not taken a request: each is asked again only once something has changed.

use tunnel_common::tunnel::Session;

/// The siblings that have refused one request, with the count of changes when they were chosen.
#[derive(Default)]
pub(super) struct Refusals(Vec<(Session, u64)>);

impl Refusals {
    /// The session had no tunnel for the request, or another config.
    pub(super) fn add(&mut self, session: Session, changes: u64) {
        self.0.retain(|(known, _)| *known != session);
        self.0.push((session, changes));
    }

    /// Whether the session has refused, and nothing has changed since it was asked.
    pub(super) fn has(&self, session: &Session, changes: u64) -> bool {
        self.0.iter().any(|(known, then)| known == session && *then == changes)
    }
}
