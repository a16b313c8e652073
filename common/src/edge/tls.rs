//! TLS with callers, for mappings that have a certificate.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::http1::Stream;
use crate::keys::{Certificate, KeysError, Reloaded};

/// The certificate of a mapping, followed while its files change.
pub struct CallerTls(Reloaded<Certificate, Arc<ServerConfig>>);

impl CallerTls {
    /// Reads `tls.crt` and `tls.key` of `folder`.
    ///
    /// # Errors
    /// They are missing, unreadable, or do not fit each other.
    pub fn new(folder: &Path) -> Result<Self, KeysError> {
        let path = folder.to_owned();
        let build = move |certificate: &Certificate| {
            server_config(certificate).map(Arc::new).map_err(|error| KeysError::Invalid {
                path: path.clone(),
                reason: error.to_string(),
            })
        };
        Reloaded::new(folder, Certificate::load, build).map(Self)
    }

    /// Shakes hands with a caller, within `limit`.
    pub async fn accept(&self, stream: TcpStream, limit: Duration) -> io::Result<Stream> {
        let handshake = TlsAcceptor::from(self.0.current()).accept(stream);
        match timeout(limit, handshake).await {
            Ok(tls) => Ok(Stream::Tls(Box::new(tls?.into()))),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

fn server_config(certificate: &Certificate) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificate.chain.clone(), certificate.key.clone_key())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
