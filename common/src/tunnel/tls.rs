//! Mutual TLS 1.3 of the gRPC transport, with keys that may change while it runs.

use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use webpki::EndEntityCert;

use crate::keys::{KeysError, TlsKeys};

/// The only protocol that is spoken inside.
const ALPN: &[u8] = b"h2";

/// The listening side: shows a certificate and demands one of the same authority.
pub struct TlsServer(Reloaded<ServerConfig>);

impl TlsServer {
    /// Reads the keys of `folder`; see [`TlsKeys::load`].
    ///
    /// # Errors
    /// The keys are missing, unreadable, or do not fit each other.
    pub fn new(folder: &Path) -> Result<Self, KeysError> {
        Reloaded::new(folder, server_config).map(Self)
    }

    /// Shakes hands with a client. Returns the DNS names of its certificate in their order there,
    /// at least one. Has no time limit of its own.
    ///
    /// # Errors
    /// What went wrong, and the connection for an orderly end: the client hears of a refused
    /// certificate only if the alert is not lost in a reset.
    pub async fn accept(
        &self,
        tcp: TcpStream,
    ) -> Result<(server::TlsStream<TcpStream>, Vec<String>), (io::Error, TcpStream)> {
        let tls = TlsAcceptor::from(self.0.current()).accept(tcp).into_fallible().await?;
        let session = tls.get_ref().1;
        let certificate = session
            .peer_certificates()
            .and_then(|chain| EndEntityCert::try_from(chain.first()?).ok());
        let names: Vec<_> = certificate
            .iter()
            .flat_map(|certificate| certificate.valid_dns_names().map(str::to_owned))
            .collect();
        let problem = match session.alpn_protocol() {
            Some(ALPN) if !names.is_empty() => return Ok((tls, names)),
            Some(ALPN) => "the client's certificate has no DNS name for its cluster",
            _ => "the client does not speak h2",
        };
        Err((io::Error::new(io::ErrorKind::InvalidData, problem), tls.into_inner().0))
    }
}

/// The dialling side: checks the server's name, and shows the certificate of its cluster.
pub struct TlsClient(Reloaded<ClientConfig>);

impl TlsClient {
    /// Reads the keys of `folder`; see [`TlsKeys::load`].
    ///
    /// # Errors
    /// The keys are missing, unreadable, or do not fit each other.
    pub fn new(folder: &Path) -> Result<Self, KeysError> {
        Reloaded::new(folder, client_config).map(Self)
    }

    /// Shakes hands with the server `name`, and waits until it speaks. Has no time limit of its
    /// own.
    ///
    /// A TLS 1.3 handshake ends here before the server has judged this end's certificate. In
    /// HTTP/2 the server speaks first, and does so only to a client that it has accepted.
    ///
    /// # Errors
    /// An [`io::Error`] that [`find_tls_error`] looks into, or one of the connection.
    pub async fn connect(
        &self,
        name: ServerName<'static>,
        tcp: TcpStream,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let mut tls = TlsConnector::from(self.0.current()).connect(name, tcp).await?;
        match tls.fill_buf().await? {
            [] => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(tls),
        }
    }
}

/// The TLS error that `error` holds, if it does.
pub fn find_tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn server_config(keys: &TlsKeys) -> Result<ServerConfig, rustls::Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(keys)?.into(), provider())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(keys.chain.clone(), keys.key.clone_key())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would skip the check of the client's certificate.
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client_config(keys: &TlsKeys) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots(keys)?)
        .with_client_auth_cert(keys.chain.clone(), keys.key.clone_key())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn roots(keys: &TlsKeys) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for authority in &keys.authorities {
        roots.add(authority.clone())?;
    }
    Ok(roots)
}

/// AES-GCM first, which current processors have instructions for; and a key exchange first that
/// a later quantum computer does not undo, as a tunnel's handshake is rare.
fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::{cipher_suite, kx_group};

    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    })
}

/// A TLS configuration that follows its files.
///
/// The files are read again for a handshake, but at most every [`Self::INTERVAL`]; that is a few
/// short blocking reads. A set that does not load or fit (the files may be half replaced) is
/// logged once, and the last good one stays. Established connections are never touched.
struct Reloaded<C> {
    folder: PathBuf,
    build: fn(&TlsKeys) -> Result<C, rustls::Error>,
    state: RefCell<State<C>>,
}

struct State<C> {
    keys: TlsKeys,
    config: Arc<C>,
    read_at: Instant,
    /// What was last logged.
    problem: Option<String>,
}

impl<C> Reloaded<C> {
    const INTERVAL: Duration = Duration::from_secs(1);

    fn new(
        folder: &Path,
        build: fn(&TlsKeys) -> Result<C, rustls::Error>,
    ) -> Result<Self, KeysError> {
        let keys = TlsKeys::load(folder)?;
        let config = Arc::new(build(&keys).map_err(|error| misfit(folder, &error))?);
        let state = State { keys, config, read_at: Instant::now(), problem: None };
        Ok(Self { folder: folder.to_owned(), build, state: RefCell::new(state) })
    }

    fn current(&self) -> Arc<C> {
        let mut state = self.state.borrow_mut();
        if state.read_at.elapsed() >= Self::INTERVAL {
            state.read_at = Instant::now();
            match self.reload(&mut state) {
                Ok(()) => state.problem = None,
                Err(error) => self.report(&mut state, &error),
            }
        }
        state.config.clone()
    }

    fn reload(&self, state: &mut State<C>) -> Result<(), KeysError> {
        let keys = TlsKeys::load(&self.folder)?;
        if keys != state.keys {
            let config = (self.build)(&keys).map_err(|error| misfit(&self.folder, &error))?;
            state.config = Arc::new(config);
            state.keys = keys;
            tracing::info!(folder = %self.folder.display(), "new TLS keys are in use");
        }
        Ok(())
    }

    fn report(&self, state: &mut State<C>, error: &KeysError) {
        let problem = match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        if state.problem.as_ref() != Some(&problem) {
            tracing::warn!(error = problem, "cannot use the new TLS keys, the old ones stay");
            state.problem = Some(problem);
        }
    }
}

fn misfit(folder: &Path, error: &rustls::Error) -> KeysError {
    KeysError::Invalid { path: folder.to_owned(), reason: error.to_string() }
}
