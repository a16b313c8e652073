//! Whether the other ends map what this end maps: said once, and shown as long as it lasts.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tunnel_common::ready::Ready;

use super::Sessions;

/// How long the configs may differ without a word: a new one does not reach both ends at once.
const GRACE: Duration = Duration::from_secs(5);

impl Sessions {
    /// Watches until the process ends; shows what it finds in `ready`, too.
    pub async fn watch_drift(self: Rc<Self>, ready: Ready) {
        let mut told = BTreeMap::new();
        loop {
            // Counts what changes from here on.
            let changed = self.changed.notified();
            let before = self.drift();
            tokio::time::sleep(GRACE).await;
            let mut drift = self.drift();
            drift.retain(|peer, missing| before.get(peer) == Some(missing));
            self.metrics.drifted.set(drift.len() as i64);
            for (peer, missing) in &drift {
                if told.get(peer) != Some(missing) {
                    tracing::warn!(
                        peer,
                        missing,
                        "the other end's config lacks mappings of this one's"
                    );
                }
            }
            match drift
                .iter()
                .map(|(peer, missing)| format!("{peer} lacks {missing}"))
                .reduce(|a, b| a + "; " + &b)
            {
                Some(text) => ready.note("config of the other end", text),
                None => ready.clear_note("config of the other end"),
            }
            told = drift;
            changed.await;
        }
    }

    /// What each peer's config lacks, by peer.
    fn drift(&self) -> BTreeMap<String, String> {
        let config = self.config.borrow();
        let members = self.members.borrow();
        let tunnels = members.iter().filter(|member| !member.is_sibling());
        tunnels
            .map(|member| (member.session.peer().to_string(), member.missing(&config).join(", ")))
            .filter(|(_, missing)| !missing.is_empty())
            .collect()
    }
}
