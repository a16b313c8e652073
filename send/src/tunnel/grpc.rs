//! The `grpc` transport's listening side: an embedded gRPC server behind mutual TLS.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tunnel_common::drain::Drain;
use tunnel_common::tunnel::pipe::{self, CallError, Pipe};
use tunnel_common::tunnel::tls::TlsServer;
use tunnel_common::tunnel::{Acceptor, Peer};

use super::listener::{BindError, Handshake, Listener};

/// How long a refused client may take to hear of it.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Accepts tunnels that come as a gRPC call over mutual TLS.
///
/// A connection is cut if it has not proved itself and made the call within 5 s; at most 256
/// are in that state, and one more displaces the oldest. Dropping the acceptor closes the
/// listener; tunnels that were accepted go on.
pub struct GrpcAcceptor(Listener<GrpcHandshake>);

struct GrpcHandshake {
    tls: TlsServer,
    drain: Drain,
}

impl GrpcAcceptor {
    /// Listens on `address`, with the keys in the folder `keys`; see
    /// [`TlsKeys::load`](tunnel_common::keys::TlsKeys::load()). Changed keys are taken up by
    /// themselves. All tasks run in `drain`, on the thread that accepts.
    ///
    /// # Errors
    /// The keys cannot be used, or the address is taken or forbidden.
    pub async fn bind(address: SocketAddr, keys: &Path, drain: &Drain) -> Result<Self, BindError> {
        let handshake = GrpcHandshake { tls: TlsServer::new(keys)?, drain: drain.clone() };
        Listener::bind(address, handshake, drain.clone()).await.map(Self)
    }

    /// Where it listens; the port is the real one where port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }
}

impl Acceptor for GrpcAcceptor {
    type Io = Pipe;

    async fn accept(&mut self) -> (Pipe, Peer) {
        self.0.accept().await
    }
}

impl Handshake for GrpcHandshake {
    type Io = Pipe;

    async fn shake_hands(
        self: Rc<Self>,
        tcp: TcpStream,
        address: SocketAddr,
        ready: mpsc::Sender<(Pipe, Peer)>,
    ) -> Result<(), Option<String>> {
        let (tls, names) = match self.tls.accept(tcp).await {
            Ok(accepted) => accepted,
            Err((error, tcp)) => {
                let silent = error.kind() == io::ErrorKind::UnexpectedEof;
                let reason = (!silent).then(|| error.to_string());
                close(tcp).await;
                return Err(reason);
            }
        };
        let peer = Peer { address: address.to_string(), names };
        let pipe = pipe::accept(tls, &self.drain).await.map_err(|error| Some(describe(&error)))?;
        // Fails only once the acceptor is gone.
        let _ = ready.send((pipe, peer)).await;
        Ok(())
    }
}

/// Ends a connection so that what was sent arrives: closing it with unread data would be a reset,
/// which can overtake the alert that tells the client what is wrong.
async fn close(mut tcp: TcpStream) {
    let discard = async {
        let mut discarded = [0; 1024];
        if tcp.shutdown().await.is_ok() {
            while tcp.read(&mut discarded).await.is_ok_and(|len| len > 0) {}
        }
    };
    let _ = timeout(CLOSE_LIMIT, discard).await;
}

fn describe(error: &CallError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
