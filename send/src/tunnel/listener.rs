//! What every transport that listens has in common: connections prove themselves beside each
//! other, and none holds up another.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};
use tunnel_common::drain::Drain;
use tunnel_common::keys::KeysError;
use tunnel_common::tunnel::Peer;

use super::waiting::{Place, Refusals, Waiting};

/// How long a client may take from its connection to its tunnel.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// How long to leave the listener alone after it failed; mostly for want of file descriptors.
const REST: Duration = Duration::from_millis(100);

/// How many tunnels wait for the acceptor; further ones wait within their handshake.
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

/// Makes tunnels of connections.
pub(super) trait Handshake: 'static {
    /// The byte stream of a tunnel.
    type Io: 'static;

    /// Ends when the client has proved itself and its tunnel is on its way to `ready`, or with
    /// the reason for the log; `None` is not worth a line, as health checks of load balancers come
    /// and go all the time. Dropping the future ends the connection.
    fn shake_hands(
        self: Rc<Self>,
        tcp: TcpStream,
        address: SocketAddr,
        ready: mpsc::Sender<(Self::Io, Peer)>,
    ) -> impl Future<Output = Result<(), Option<String>>>;
}

/// Listens, and has each connection shake hands.
///
/// A connection is cut if that takes more than 5 s; at most 256 are in that state, and one more
/// displaces the oldest. Dropping the listener closes it; tunnels that it has yielded go on.
pub(super) struct Listener<H: Handshake> {
    listener: TcpListener,
    address: SocketAddr,
    /// When the listener is tried again after a failure.
    rest_until: Option<Instant>,
    waiting: Waiting,
    handshake: Rc<H>,
    refusals: Rc<Refusals>,
    drain: Drain,
    sender: mpsc::Sender<(H::Io, Peer)>,
    ready: mpsc::Receiver<(H::Io, Peer)>,
}

impl<H: Handshake> Listener<H> {
    /// Listens on `address`. All tasks run in `drain`, on the thread that accepts.
    pub(super) async fn bind(
        address: SocketAddr,
        handshake: H,
        drain: Drain,
    ) -> Result<Self, BindError> {
        let failed = |source| BindError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (sender, ready) = mpsc::channel(READY);
        Ok(Self {
            listener,
            address,
            rest_until: None,
            waiting: Waiting::default(),
            handshake: Rc::new(handshake),
            refusals: Rc::default(),
            drain,
            sender,
            ready,
        })
    }

    /// Where it listens; the port is the real one where port 0 was asked for.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The next tunnel. Cancel safe.
    pub(super) async fn accept(&mut self) -> (H::Io, Peer) {
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

    fn begin(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((tcp, address)) => {
                // Only latency suffers without it.
                let _ = tcp.set_nodelay(true);
                let handshake = Rc::clone(&self.handshake);
                let shaking = handshake.shake_hands(tcp, address, self.sender.clone());
                let (place, refusals) = (self.waiting.enter(), Rc::clone(&self.refusals));
                self.drain.spawn(guard(shaking, address, place, refusals));
            }
            // The client's doing: the next one may be well.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                self.refusals.report(&self.address, &error.to_string());
                self.rest_until = Some(Instant::now() + REST);
            }
        }
    }
}

/// Bounds a handshake in time and number, and logs how it failed.
async fn guard(
    shaking: impl Future<Output = Result<(), Option<String>>>,
    address: SocketAddr,
    place: Place,
    refusals: Rc<Refusals>,
) {
    let deadline = Instant::now() + HANDSHAKE_LIMIT;
    let refusal = tokio::select! {
        done = timeout_at(deadline, shaking) => match done {
            Ok(Ok(())) => return,
            Ok(Err(refusal)) => refusal,
            Err(_) => Some(format!("no tunnel within {HANDSHAKE_LIMIT:?}")),
        },
        () = place.displaced() => Some("too many handshakes at once".to_owned()),
    };
    match refusal {
        Some(reason) => refusals.report(&address, &reason),
        None => tracing::debug!(%address, "a connection was closed without a word"),
    }
}
