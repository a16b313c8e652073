//! The `grpc` transport's listening side: an embedded gRPC server behind mutual TLS.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tunnel_common::drain::Drain;
use tunnel_common::keys::KeysError;
use tunnel_common::tunnel::pipe::{self, CallError, Pipe};
use tunnel_common::tunnel::tls::TlsServer;
use tunnel_common::tunnel::{Acceptor, Peer};

use super::waiting::{Place, Refusals, Waiting};

/// How long a client may take from its connection to its call, TLS included.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// How long a refused client may take to hear of it.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// How long to leave the listener alone after it failed; mostly for want of file descriptors.
const LISTENER_REST: Duration = Duration::from_millis(100);

/// How many tunnels wait for [`Acceptor::accept`]; further ones wait within their handshake.
const READY: usize = 16;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The operating system refuses the address.
    #[error("cannot listen on {address} for the tunnel")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Accepts tunnels that come as a gRPC call over mutual TLS.
///
/// A connection is cut if it has not proved itself and made the call within 5 s; at most 256
/// are in that state, and one more displaces the oldest. Dropping the acceptor closes the
/// listener; tunnels that were accepted go on.
pub struct GrpcAcceptor {
    listener: TcpListener,
    address: SocketAddr,
    /// When the listener is tried again after a failure.
    rest_until: Option<Instant>,
    waiting: Waiting,
    handshakes: Rc<Handshakes>,
    ready: mpsc::Receiver<(Pipe, Peer)>,
}

/// What the handshakes share.
struct Handshakes {
    tls: TlsServer,
    drain: Drain,
    refusals: Refusals,
    ready: mpsc::Sender<(Pipe, Peer)>,
}

impl GrpcAcceptor {
    /// Listens on `address`, with the keys in the folder `keys`; see
    /// [`TlsKeys::load`](tunnel_common::keys::TlsKeys::load()). Changed keys are taken up by
    /// themselves. All tasks run in `drain`, on the thread that accepts.
    ///
    /// # Errors
    /// The keys cannot be used, or the address is taken or forbidden.
    pub async fn bind(address: SocketAddr, keys: &Path, drain: &Drain) -> Result<Self, BindError> {
        let tls = TlsServer::new(keys)?;
        let failed = |source| BindError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (sender, ready) = mpsc::channel(READY);
        let handshakes =
            Handshakes { tls, drain: drain.clone(), refusals: Refusals::default(), ready: sender };
        Ok(Self {
            listener,
            address,
            rest_until: None,
            waiting: Waiting::default(),
            handshakes: Rc::new(handshakes),
            ready,
        })
    }

    /// Where it listens; the port is the real one where port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    fn begin(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((tcp, address)) => {
                let handshakes = Rc::clone(&self.handshakes);
                let place = self.waiting.enter();
                self.handshakes
                    .drain
                    .spawn(async move { handshakes.run(tcp, address, place).await });
            }
            // The client's doing: the next one may be well.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                self.handshakes.refusals.report(&self.address, &error.to_string());
                self.rest_until = Some(Instant::now() + LISTENER_REST);
            }
        }
    }
}

impl Acceptor for GrpcAcceptor {
    type Io = Pipe;

    async fn accept(&mut self) -> (Pipe, Peer) {
        loop {
            let listen = async {
                if let Some(until) = self.rest_until {
                    sleep_until(until).await;
                }
                self.listener.accept().await
            };
            tokio::select! {
                Some(tunnel) = self.ready.recv() => return tunnel,
                accepted = listen => {
                    self.rest_until = None;
                    self.begin(accepted);
                }
            }
        }
    }
}

impl Handshakes {
    async fn run(&self, tcp: TcpStream, address: SocketAddr, place: Place) {
        let deadline = Instant::now() + HANDSHAKE_LIMIT;
        let refusal = tokio::select! {
            done = timeout_at(deadline, self.shake_hands(tcp, address)) => match done {
                Ok(Ok(())) => return,
                Ok(Err(refusal)) => refusal,
                Err(_) => Some(format!("no tunnel within {HANDSHAKE_LIMIT:?}")),
            },
            () = place.displaced() => Some("too many handshakes at once".to_owned()),
        };
        match refusal {
            Some(reason) => self.refusals.report(&address, &reason),
            None => tracing::debug!(%address, "a connection was closed without a word"),
        }
    }

    /// Ends with a tunnel handed over, or with the reason for the log; `None` is not worth one,
    /// as health checks of load balancers do that all the time.
    async fn shake_hands(&self, tcp: TcpStream, address: SocketAddr) -> Result<(), Option<String>> {
        // Only latency suffers without it.
        let _ = tcp.set_nodelay(true);
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
        let _ = self.ready.send((pipe, peer)).await;
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
