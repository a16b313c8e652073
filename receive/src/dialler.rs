//! Keeps one tunnel up: dials, serves, and dials again.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use tunnel_common::backoff::{Backoff, BackoffConfig};
use tunnel_common::drain::Drain;
use tunnel_common::tunnel::{ConnectError, Connector};

use crate::metrics::Metrics;
use crate::sessions::Sessions;

/// The longest pause between dials. Short, because the first request after an outage waits for it.
const PAUSE: Duration = Duration::from_millis(250);

/// Keeps one tunnel up through `connector`.
pub struct Dialler<C> {
    connector: C,
    connection: u32,
    sessions: Rc<Sessions>,
    metrics: Metrics,
    drain: Drain,
}

impl<C: Connector> Dialler<C> {
    /// `connection` numbers the tunnels of this process.
    pub fn new(
        connector: C,
        connection: u32,
        sessions: Rc<Sessions>,
        metrics: Metrics,
        drain: Drain,
    ) -> Self {
        Self { connector, connection, sessions, metrics, drain }
    }

    /// Runs until the drain is asked and the last session has ended.
    pub async fn run(self) {
        let mut backoff = Backoff::new(BackoffConfig { cap: PAUSE, ..BackoffConfig::default() });
        let mut complaint = Complaint::default();
        loop {
            let dialled = tokio::select! {
                () = self.drain.asked() => return,
                dialled = self.connector.connect() => dialled,
            };
            let lived = match dialled {
                Ok((io, peer)) => {
                    complaint.settle();
                    let (begun, name) = (Instant::now(), peer.to_string());
                    let end = self.sessions.serve(io, peer, self.connection).await;
                    tracing::info!(peer = name, reason = %end, "tunnel ended");
                    begun.elapsed()
                }
                Err(error) => {
                    self.metrics.dials_failed.inc();
                    complaint.about(&error);
                    Duration::ZERO
                }
            };
            tokio::select! {
                () = self.drain.asked() => return,
                () = tokio::time::sleep(backoff.after(lived)) => {}
            }
        }
    }
}

/// Logs why dialling fails: once, and again when the reason changes; never each time.
#[derive(Default)]
struct Complaint {
    reason: String,
    times: u64,
}

impl Complaint {
    fn about(&mut self, error: &ConnectError) {
        let reason = error.to_string();
        self.times += 1;
        if reason != self.reason {
            tracing::warn!(reason, "cannot dial; trying on");
            self.reason = reason;
        }
    }

    fn settle(&mut self) {
        if self.times > 1 {
            tracing::info!(failed = self.times, "dialled at last");
        }
        *self = Self::default();
    }
}
