//! The `ssh` transport's listening side: an embedded SSH server that serves reverse forwards only.

mod connection;
#[cfg(test)]
mod tests;
mod visitor;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use russh::server::{self, Msg};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tunnel_common::drain::Drain;
use tunnel_common::tunnel::ssh::{Link, SshChannel, SshServer, Terms, Wire};
use tunnel_common::tunnel::{Acceptor, Peer};

use self::connection::Connection;
use self::visitor::{Progress, Visitor};
use super::listener::{BindError, Handshake, Listener};

/// Accepts tunnels that come as a reverse forward of SSH, from the embedded client or a stock one.
///
/// A connection is cut if it has not proved itself and asked for the forward within 5 s; at most
/// 256 are in that state, and one more displaces the oldest. On each connection one channel at a
/// time is opened towards the client, again when its tunnel has ended. Dropping the acceptor
/// closes the listener; connections that were accepted go on.
pub struct SshAcceptor(Listener<SshHandshake>);

struct SshHandshake {
    server: SshServer,
    keys: PathBuf,
    drain: Drain,
}

impl SshAcceptor {
    /// Listens on `address`, with the keys in the folder `keys`; see
    /// [`SshServerKeys::load`](tunnel_common::keys::SshServerKeys::load()). Changed keys are taken
    /// up by themselves. All tasks run in `drain`, or are ended by one that does.
    ///
    /// # Errors
    /// The keys cannot be used, or the address is taken or forbidden.
    pub async fn bind(
        address: SocketAddr,
        keys: &Path,
        terms: Terms,
        drain: &Drain,
    ) -> Result<Self, BindError> {
        let server = SshServer::new(keys, terms)?;
        let handshake = SshHandshake { server, keys: keys.to_owned(), drain: drain.clone() };
        Listener::bind(address, handshake, drain.clone()).await.map(Self)
    }

    /// Where it listens; the port is the real one where port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }
}

impl Acceptor for SshAcceptor {
    type Io = SshChannel<Msg>;

    async fn accept(&mut self) -> (SshChannel<Msg>, Peer) {
        self.0.accept().await
    }
}

impl Handshake for SshHandshake {
    type Io = SshChannel<Msg>;

    async fn shake_hands(
        self: Rc<Self>,
        tcp: TcpStream,
        address: SocketAddr,
        ready: mpsc::Sender<(SshChannel<Msg>, Peer)>,
    ) -> Result<(), Option<String>> {
        let (config, authorized) = self.server.current();
        let (sender, mut progress) = watch::channel(Progress::default());
        let visitor = Visitor::new(address, authorized, &self.keys, sender);
        let link = Link::new();
        let cut = link.cut_on_drop();
        let wire = Wire::of_server(tcp, link.clone());
        let session = match server::run_stream(config, wire, visitor).await {
            Ok(session) => session,
            Err(russh::Error::Disconnect) => return Err(None),
            Err(error) => return Err(Some(error.to_string())),
        };
        let proved = progress.wait_for(|progress| progress.forward.is_some()).await.is_ok();
        let Progress { names, refusal, .. } = progress.borrow().clone();
        if !proved {
            // The visitor is gone, and so is the session.
            let failed = session.await.err().map(|error| error.to_string());
            return Err(refusal.or(failed));
        }
        let peer = Peer { address: address.to_string(), names };
        let drain = self.drain.clone();
        let connection = Connection::new(session, link, cut, progress, peer, drain);
        self.drain.spawn(connection.run(ready));
        Ok(())
    }
}
