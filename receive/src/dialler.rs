//! Keeps one tunnel up: dials, serves, and dials again.

use std::rc::Rc;

use tokio::time::Instant;
use tunnel_common::drain::Drain;
use tunnel_common::retry::Retry;
use tunnel_common::tunnel::Connector;

use crate::metrics::Metrics;
use crate::sessions::Sessions;

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
        let mut retry = Retry::new("dialling the other cluster");
        loop {
            let dialled = tokio::select! {
                () = self.drain.asked() => return,
                dialled = self.connector.connect() => dialled,
            };
            let pause = match dialled {
                Ok((io, peer)) => {
                    retry.worked();
                    let (begun, name) = (Instant::now(), peer.to_string());
                    let end = self.sessions.serve(io, peer, self.connection).await;
                    tracing::info!(peer = name, reason = %end, "tunnel ended");
                    retry.ended(begun.elapsed())
                }
                Err(error) => {
                    self.metrics.dials_failed.inc();
                    retry.failed(&error.to_string())
                }
            };
            tokio::select! {
                () = self.drain.asked() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
