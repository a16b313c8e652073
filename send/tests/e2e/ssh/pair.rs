//! The two ends of the transport, without the apps around them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use russh::{client, server};
use tempfile::TempDir;
use tokio::time::timeout;
use tunnel_common::drain::Drain;
use tunnel_common::keys;
use tunnel_common::tunnel::ssh::{SshChannel, Terms};
use tunnel_common::tunnel::{Acceptor, Connector, Peer};
use tunnel_receive::tunnel::ssh::SshConnector;
use tunnel_send::tunnel::ssh::SshAcceptor;

/// Far above what a healthy machine needs; only a hang reaches it.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The client's end of a tunnel, and the server's.
pub type Tunnel = (SshChannel<client::Msg>, (SshChannel<server::Msg>, Peer));

/// A listening end with its keys.
pub struct Server {
    keys: TempDir,
    pub drain: Drain,
    pub acceptor: SshAcceptor,
}

impl Server {
    pub async fn start() -> Self {
        Self::with_keys(generate()).await
    }

    pub async fn with_keys(keys: TempDir) -> Self {
        let (drain, address) = (Drain::new(), SocketAddr::from(([127, 0, 0, 1], 0)));
        let folder = keys.path().join("keys/send");
        let acceptor = SshAcceptor::bind(address, &folder, Terms::default(), &drain).await;
        Self { keys, drain, acceptor: acceptor.unwrap() }
    }

    pub fn address(&self) -> SocketAddr {
        self.acceptor.local_addr()
    }

    /// The folder for `tunnel-receive`.
    pub fn client_keys(&self) -> PathBuf {
        self.keys.path().join("keys/receive")
    }

    pub fn connector(&self, user: &str, keys: &Path) -> SshConnector {
        connector(&format!("ssh://{user}@{}", self.address()), keys, &self.drain)
    }

    pub async fn tunnel(&mut self) -> Tunnel {
        self.tunnel_at(self.address()).await
    }

    /// A tunnel that is dialled at `address`.
    pub async fn tunnel_at(&mut self, address: SocketAddr) -> Tunnel {
        let connector = connector(&format!("ssh://{address}"), &self.client_keys(), &self.drain);
        let client = async {
            let dialled = connector.connect();
            // The server speaks first, as tunnel-send does.
            dialled.await.unwrap().0
        };
        let server = async {
            use tokio::io::AsyncWriteExt;
            let (mut channel, peer) = self.acceptor.accept().await;
            channel.write_all(&[0]).await.unwrap();
            (channel, peer)
        };
        let (mut client, server) =
            timeout(LIMIT, async { tokio::join!(client, server) }).await.unwrap();
        use tokio::io::AsyncReadExt;
        assert_eq!(client.read_u8().await.unwrap(), 0);
        (client, server)
    }

    /// Why a client gets no tunnel. The server goes on accepting meanwhile.
    pub async fn refusal(&mut self, user: &str, keys: &Path) -> String {
        let connector = self.connector(user, keys);
        tokio::select! {
            _ = self.acceptor.accept() => panic!("a refused client was accepted"),
            refused = timeout(LIMIT, connector.connect()) => match refused.unwrap() {
                Ok(_) => panic!("the client got a tunnel"),
                Err(error) => error.to_string(),
            },
        }
    }
}

/// Keys of both ends, in the folder `keys` of this.
pub fn generate() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    keys::generate(&folder.path().join("keys"), &["127.0.0.1".to_owned()], "b1").unwrap();
    folder
}

pub fn connector(url: &str, keys: &Path, drain: &Drain) -> SshConnector {
    SshConnector::new(url.parse().unwrap(), keys, Terms::default(), drain).unwrap()
}
