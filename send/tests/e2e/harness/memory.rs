//! A transport without a network: pipes in memory, from one app's thread to the other's.

use std::sync::{Arc, Mutex};

use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tunnel_common::tunnel::{Acceptor, ConnectError, Connector, Peer};

/// What a pipe holds in each direction; little, so that full pipes are the rule.
const PIPE: usize = 16 * 1024;

/// Where connectors find the acceptor of the moment.
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<Option<mpsc::Sender<DuplexStream>>>>);

impl Wire {
    /// Takes the place of an earlier acceptor.
    pub fn acceptor(&self) -> MemoryAcceptor {
        let (sender, dialled) = mpsc::channel(1);
        self.0.lock().unwrap().replace(sender);
        MemoryAcceptor(dialled)
    }
}

pub struct MemoryAcceptor(mpsc::Receiver<DuplexStream>);

impl Acceptor for MemoryAcceptor {
    type Io = DuplexStream;

    async fn accept(&mut self) -> (DuplexStream, Peer) {
        match self.0.recv().await {
            Some(io) => (io, Peer { address: "memory".to_owned(), names: vec!["b".to_owned()] }),
            // Displaced.
            None => std::future::pending().await,
        }
    }
}

impl Connector for Wire {
    type Io = DuplexStream;

    async fn connect(&self) -> Result<(DuplexStream, Peer), ConnectError> {
        let acceptor = self.0.lock().unwrap().clone();
        let (ours, theirs) = duplex(PIPE);
        let sent = match acceptor {
            Some(acceptor) => acceptor.try_send(theirs).is_ok(),
            None => false,
        };
        let peer = Peer { address: "memory".to_owned(), names: vec!["a".to_owned()] };
        sent.then_some((ours, peer)).ok_or_else(|| ConnectError("nobody accepts".to_owned()))
    }
}
