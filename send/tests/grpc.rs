//! The `grpc` transport from end to end: real sockets, generated keys, both crates.
#![expect(clippy::panic, clippy::unwrap_used, reason = "clippy.toml's exception misses helpers")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tunnel_common::drain::Drain;
use tunnel_common::keys;
use tunnel_common::tunnel::pipe::Pipe;
use tunnel_common::tunnel::tls::find_tls_error;
use tunnel_common::tunnel::{Acceptor, Connector, GrpcConnector, GrpcError, Peer};
use tunnel_send::tunnel::grpc::GrpcAcceptor;

/// Far above what a healthy machine needs; only a hang reaches it.
const LIMIT: Duration = Duration::from_secs(30);

/// A listening end with its keys.
struct Server {
    keys: TempDir,
    drain: Drain,
    acceptor: GrpcAcceptor,
}

impl Server {
    async fn start() -> Self {
        Self::named("127.0.0.1").await
    }

    async fn named(name: &str) -> Self {
        let keys = generate(name);
        let drain = Drain::new();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let acceptor = GrpcAcceptor::bind(address, &keys.path().join("send"), &drain).await;
        Self { keys, drain, acceptor: acceptor.unwrap() }
    }

    fn address(&self) -> SocketAddr {
        self.acceptor.local_addr()
    }

    fn connector(&self, keys: &Path) -> GrpcConnector {
        connector(&format!("https://{}", self.address()), keys, &self.drain).unwrap()
    }

    /// Why a client with `keys` gets no tunnel. The server goes on accepting meanwhile.
    async fn refusal(&mut self, keys: &Path) -> String {
        let connector = self.connector(keys);
        tokio::select! {
            _ = self.acceptor.accept() => panic!("a refused client was accepted"),
            refused = timeout(LIMIT, connector.connect()) => match refused.unwrap() {
                Ok(_) => panic!("the client got a tunnel"),
                Err(error) => error.to_string(),
            },
        }
    }

    /// A tunnel for a client with `keys`: its end, then the server's.
    async fn tunnel(&mut self, keys: &Path) -> (Pipe, (Pipe, Peer)) {
        let connector = self.connector(keys);
        let (opened, accepted) =
            timeout(LIMIT, async { tokio::join!(connector.connect(), self.acceptor.accept()) })
                .await
                .unwrap();
        (opened.unwrap().0, accepted)
    }

    fn client_keys(&self) -> PathBuf {
        self.keys.path().join("receive")
    }
}

fn generate(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    keys::generate(folder.path(), &[name.to_owned()], "b1").unwrap();
    folder
}

fn connector(url: &str, keys: &Path, drain: &Drain) -> Result<GrpcConnector, GrpcError> {
    GrpcConnector::new(url.parse().unwrap(), keys, drain)
}

/// Why a dial to `url` fails.
async fn failure(url: &str, keys: &Path) -> String {
    let drain = Drain::new();
    let connector = connector(url, keys, &drain).unwrap();
    match timeout(LIMIT, connector.connect()).await.unwrap() {
        Ok(_) => panic!("{url} gave a tunnel"),
        Err(error) => error.to_string(),
    }
}

fn copy(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[tokio::test(flavor = "local")]
async fn carries_bytes_of_a_proven_cluster() {
    let mut server = Server::start().await;
    let (mut client, (mut accepted, peer)) = server.tunnel(&server.client_keys()).await;
    assert_eq!(peer.names, ["b1"]);
    assert!(peer.to_string().starts_with("b1 at 127.0.0.1:"), "{peer}");

    let data: Vec<u8> = (0..1u32 << 21).flat_map(u32::to_le_bytes).collect();
    let mut echoed = vec![0; data.len()];
    let (mut reader, mut writer) = tokio::io::split(&mut client);
    timeout(LIMIT, async {
        let echo = async {
            let (mut from, mut to) = tokio::io::split(&mut accepted);
            tokio::io::copy(&mut from, &mut to).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let write = async {
            writer.write_all(&data).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let read = async {
            reader.read_exact(&mut echoed).await.unwrap();
            assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
        };
        tokio::join!(echo, write, read)
    })
    .await
    .unwrap();
    assert!(echoed == data);

    drop((client, accepted));
    assert_eq!(server.drain.finish(Duration::from_secs(3)).await, 0);
}

#[tokio::test(flavor = "local")]
async fn a_drop_ends_the_other_end() {
    let mut server = Server::start().await;
    let keys = server.client_keys();
    let (client, (mut accepted, _)) = server.tunnel(&keys).await;
    drop(client);
    assert_eq!(timeout(LIMIT, accepted.read(&mut [0])).await.unwrap().unwrap(), 0);

    let (mut client, (accepted, _)) = server.tunnel(&keys).await;
    drop(accepted);
    assert_eq!(timeout(LIMIT, client.read(&mut [0])).await.unwrap().unwrap(), 0);
}

#[tokio::test(flavor = "local")]
async fn refuses_keys_that_were_not_made_together() {
    let mut server = Server::start().await;
    let foreign = generate("127.0.0.1");
    let foreign = foreign.path().join("receive");
    let error = server.refusal(&foreign).await;
    assert!(error.contains("is not of the CA in ") && error.contains(":"), "{error}");

    // Trusts the server, but shows a certificate of another CA.
    copy(&server.client_keys(), &foreign, &["ca.crt"]);
    let error = server.refusal(&foreign).await;
    assert!(error.starts_with(&format!("https://{}: ", server.address())), "{error}");
    assert!(error.contains("the server refused the certificate "), "{error}");
}

#[tokio::test(flavor = "local")]
async fn refuses_a_client_without_a_certificate() {
    let mut server = Server::start().await;
    let mut roots = RootCertStore::empty();
    let ca = server.client_keys().join("ca.crt");
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let address = server.address();
    let client = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        tls.read(&mut [0]).await.unwrap_err()
    };
    let error = tokio::select! {
        _ = server.acceptor.accept() => panic!("it was accepted"),
        error = timeout(LIMIT, client) => error.unwrap(),
    };
    let required = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
    assert_eq!(find_tls_error(&error), Some(&required));
}

#[tokio::test(flavor = "local")]
async fn refuses_a_server_of_another_name() {
    let mut server = Server::named("bridge.example.com").await;
    let error = server.refusal(&server.client_keys()).await;
    assert!(error.ends_with("make the keys anew with --name 127.0.0.1"), "{error}");
}

#[tokio::test(flavor = "local")]
async fn bad_clients_hold_up_nobody() {
    let mut server = Server::start().await;
    let address = server.address();
    let connect = async {
        let mut bad = Vec::new();
        // More than may be in a handshake at once.
        for number in 0..300 {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            if number % 2 == 0 {
                tcp.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            }
            bad.push(tcp);
        }
        bad
    };
    let _bad = tokio::select! {
        _ = server.acceptor.accept() => panic!("it was accepted"),
        bad = timeout(LIMIT, connect) => bad.unwrap(),
    };
    let keys = server.client_keys();
    timeout(Duration::from_secs(3), server.tunnel(&keys)).await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn a_silent_client_is_cut() {
    let mut server = Server::start().await;
    let mut silent = TcpStream::connect(server.address()).await.unwrap();
    let mut read = [0];
    tokio::select! {
        _ = server.acceptor.accept() => panic!("it was accepted"),
        end = timeout(LIMIT, silent.read(&mut read)) => assert_eq!(end.unwrap().unwrap(), 0),
    }
}

#[tokio::test(flavor = "local")]
async fn new_keys_are_taken_up_and_broken_ones_are_not() {
    let mut server = Server::start().await;
    let send = server.keys.path().join("send");
    let old = server.client_keys();
    let (mut client, (mut accepted, _)) = server.tunnel(&old).await;

    let new = generate("127.0.0.1");
    copy(&new.path().join("send"), &send, &["tls.crt"]);
    // Long enough that the half replaced set is looked at.
    let watched = tokio::time::Instant::now() + Duration::from_millis(1500);
    while tokio::time::Instant::now() < watched {
        server.tunnel(&old).await;
    }

    copy(&new.path().join("send"), &send, &["tls.key", "ca.crt"]);
    let connector = server.connector(&new.path().join("receive"));
    let mut pending = std::pin::pin!(timeout(LIMIT, async {
        loop {
            if let Ok(opened) = connector.connect().await {
                return opened;
            }
        }
    }));
    tokio::select! {
        (_, peer) = server.acceptor.accept() => assert_eq!(peer.names, ["b1"]),
        opened = &mut pending => drop(opened.unwrap()),
    }
    assert!(server.refusal(&old).await.contains("is not of the CA in "));

    client.write_all(b"still here").await.unwrap();
    let mut read = [0; 10];
    timeout(LIMIT, accepted.read_exact(&mut read)).await.unwrap().unwrap();
    assert_eq!(&read, b"still here");
}

#[tokio::test(flavor = "local")]
async fn failures_say_what_is_wrong() {
    let keys = generate("127.0.0.1");
    let others = keys.path().join("send");
    let error = connector("https://127.0.0.1:1", &others, &Drain::new()).err().unwrap();
    let said = format!("{} has the keys of tunnel-send: use ", others.display());
    assert!(error.to_string().starts_with(&said), "{error}");

    let keys = keys.path().join("receive");

    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", unused.local_addr().unwrap());
    drop(unused);
    let error = failure(&url, &keys).await;
    assert!(error.starts_with(&format!("{url}: no connection to 127.0.0.1:")), "{error}");
    assert!(error.to_lowercase().contains("refused"), "{error}");

    let error = failure("https://nowhere.invalid:1", &keys).await;
    assert!(error.contains("the name nowhere.invalid does not resolve"), "{error}");

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    let answer = async {
        let (mut tcp, _) = plain.accept().await.unwrap();
        tcp.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await.unwrap();
        let _ = tcp.read(&mut [0; 1000]).await.unwrap();
    };
    let (error, ()) = tokio::join!(failure(&url, &keys), answer);
    assert!(error.ends_with("the server does not speak TLS"), "{error}");

    // The kernel answers for the listener, and then nobody does.
    let error = failure(&url, &keys).await;
    assert!(error.ends_with("no answer within 5s"), "{error}");
}

#[tokio::test(flavor = "local")]
async fn refuses_urls_without_host_or_port() {
    let keys = generate("127.0.0.1");
    let keys = keys.path().join("receive");
    let drain = Drain::new();
    for url in ["https://a.example", "/x", "https://a.example:1/x", "https://me@a.example:1"] {
        let error = connector(url, &keys, &drain).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("must name a host and a port")), "{url}");
    }
    for url in ["a.example:1", "https://[::1]:8443", "https://127.0.0.1:8443/"] {
        assert!(connector(url, &keys, &drain).is_ok(), "{url}");
    }
}

#[tokio::test(flavor = "local")]
async fn an_address_in_use_is_an_error() {
    let server = Server::start().await;
    let keys = server.keys.path().join("send");
    let again = GrpcAcceptor::bind(server.address(), &keys, &server.drain).await;
    let error = again.err().unwrap().to_string();
    assert_eq!(error, format!("cannot listen on {} for the tunnel", server.address()));
}
