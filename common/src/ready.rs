//! Whether the process can do its work, and what it waits for when it cannot.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What `/readyz` reports; clones share one state and may be used from any thread.
///
/// The process is ready when all gates are open and it is not draining. Names are static, which
/// bounds how many gates and notes there can be.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    draining: bool,
    /// What each gate waits for; an open gate waits for nothing.
    gates: BTreeMap<&'static str, Option<String>>,
    notes: BTreeMap<&'static str, String>,
}

impl Ready {
    /// A state without gates, which is ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// The gate of this name; closed when it is new. Readiness waits for it until it is opened:
    /// dropping it neither opens it nor takes it away.
    pub fn gate(&self, name: &'static str) -> Gate {
        self.state().gates.entry(name).or_insert_with(|| Some("not yet".to_owned()));
        Gate { name, ready: self.clone() }
    }

    /// Shows `text` under `name`, in place of an earlier note, without a say in readiness.
    pub fn note(&self, name: &'static str, text: impl Into<String>) {
        self.state().notes.insert(name, text.into());
    }

    /// Takes a note away.
    pub fn clear_note(&self, name: &'static str) {
        self.state().notes.remove(name);
    }

    /// Ends readiness for good, whatever the gates say.
    pub fn drain(&self) {
        self.state().draining = true;
    }

    /// Whether the process can do its work.
    pub fn is_ready(&self) -> bool {
        self.state().is_ready()
    }

    /// [`is_ready`](Self::is_ready) and, from the same moment, the reasons as lines of text.
    pub fn report(&self) -> (bool, String) {
        let state = self.state();
        (state.is_ready(), state.to_string())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_ready(&self) -> bool {
        !self.draining && self.gates.values().all(Option::is_none)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}",
            match (self.draining, self.is_ready()) {
                (true, _) => "draining",
                (false, true) => "ready",
                (false, false) => "not ready",
            }
        )?;
        for (name, reason) in &self.gates {
            match reason {
                Some(reason) => writeln!(f, "waiting for {name}: {reason}")?,
                None => writeln!(f, "ok: {name}")?,
            }
        }
        self.notes.iter().try_for_each(|(name, text)| writeln!(f, "note: {name}: {text}"))
    }
}

/// One condition of readiness. Clones are the same gate.
#[derive(Clone, Debug)]
#[must_use = "readiness waits until the gate is opened"]
pub struct Gate {
    name: &'static str,
    ready: Ready,
}

impl Gate {
    /// Readiness no longer waits for this.
    pub fn open(&self) {
        self.ready.state().gates.insert(self.name, None);
    }

    /// Readiness waits for this, because of `reason`.
    pub fn close(&self, reason: impl Into<String>) {
        self.ready.state().gates.insert(self.name, Some(reason.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_every_gate_and_says_why() {
        let ready = Ready::new();
        let session = ready.gate("session");
        let listener = ready.gate("tunnel listener");
        listener.open();
        let text = "not ready\nwaiting for session: not yet\nok: tunnel listener\n";
        assert_eq!(ready.report(), (false, text.to_owned()));

        session.open();
        assert_eq!(ready.report(), (true, "ready\nok: session\nok: tunnel listener\n".to_owned()));

        session.close("the peer is draining");
        assert!(ready.report().1.contains("waiting for session: the peer is draining\n"));
    }

    #[test]
    fn a_lost_gate_stays_closed() {
        let ready = Ready::new();
        drop(ready.gate("session"));
        assert!(!ready.is_ready());
        ready.gate("session").open();
        assert!(ready.is_ready());
    }

    #[test]
    fn notes_do_not_gate() {
        let ready = Ready::new();
        ready.note("config", "first");
        ready.note("config", "last reload failed: data[2].port: not a port");
        let text = "ready\nnote: config: last reload failed: data[2].port: not a port\n";
        assert_eq!(ready.report(), (true, text.to_owned()));
        ready.clear_note("config");
        assert_eq!(ready.report().1, "ready\n");
    }

    #[test]
    fn draining_ends_readiness_for_good() {
        let ready = Ready::new();
        ready.drain();
        ready.gate("session").open();
        assert_eq!(ready.report(), (false, "draining\nok: session\n".to_owned()));
    }
}
