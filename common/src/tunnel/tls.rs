//! Mutual TLS 1.3 of the gRPC transport, with keys that may change while it runs.

use std::io;
use std::path::Path;
use std::sync::Arc;

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

use super::inlet::Inlet;
use crate::keys::{KeysError, Reloaded, TlsKeys, normal_name};

/// The only protocol that is spoken inside.
const ALPN: &[u8] = b"h2";

/// The listening side: shows a certificate and demands one of the same authority.
pub struct TlsServer(Reloaded<TlsKeys, Arc<ServerConfig>>);

impl TlsServer {
    /// Reads the keys of `folder`; see [`TlsKeys::load`].
    ///
    /// # Errors
    /// The keys are missing, unreadable, or do not fit each other.
    pub fn new(folder: &Path) -> Result<Self, KeysError> {
        follow(folder, server_config).map(Self)
    }

    /// Shakes hands with a client. Returns the DNS names of its certificate in their order there, by
    /// [`normal_name`], at least one. Has no time limit of its own.
    ///
    /// # Errors
    /// What went wrong, and the connection for an orderly end: the client hears of a refused
    /// certificate only if the alert is not lost in a reset.
    pub async fn accept(
        &self,
        tcp: TcpStream,
    ) -> Result<(server::TlsStream<Inlet<TcpStream>>, Vec<String>), (io::Error, TcpStream)> {
        let accepting = TlsAcceptor::from(self.0.current()).accept(Inlet::new(tcp));
        let tls =
            accepting.into_fallible().await.map_err(|(error, tcp)| (error, tcp.into_inner()))?;
        let session = tls.get_ref().1;
        let certificate = session
            .peer_certificates()
            .and_then(|chain| EndEntityCert::try_from(chain.first()?).ok());
        let names: Vec<_> = certificate
            .iter()
            .flat_map(|certificate| certificate.valid_dns_names().map(normal_name))
            .collect();
        let problem = match session.alpn_protocol() {
            Some(ALPN) if !names.is_empty() => return Ok((tls, names)),
            Some(ALPN) => "the client's certificate has no DNS name for its cluster",
            _ => "the client does not speak h2",
        };
        Err((io::Error::new(io::ErrorKind::InvalidData, problem), tls.into_inner().0.into_inner()))
    }
}

/// The dialling side: checks the server's name, and shows the certificate of its cluster.
pub struct TlsClient(Reloaded<TlsKeys, Arc<ClientConfig>>);

impl TlsClient {
    /// Reads the keys of `folder`; see [`TlsKeys::load`].
    ///
    /// # Errors
    /// The keys are missing, unreadable, or do not fit each other.
    pub fn new(folder: &Path) -> Result<Self, KeysError> {
        follow(folder, client_config).map(Self)
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
    ) -> io::Result<client::TlsStream<Inlet<TcpStream>>> {
        let mut tls = TlsConnector::from(self.0.current()).connect(name, Inlet::new(tcp)).await?;
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
fn follow<C: 'static>(
    folder: &Path,
    build: fn(&TlsKeys) -> Result<C, rustls::Error>,
) -> Result<Reloaded<TlsKeys, Arc<C>>, KeysError> {
    let path = folder.to_owned();
    Reloaded::new(folder, TlsKeys::load, move |keys| {
        let misfit = |error: rustls::Error| KeysError::Invalid {
            path: path.clone(),
            reason: error.to_string(),
        };
        build(keys).map(Arc::new).map_err(misfit)
    })
}
