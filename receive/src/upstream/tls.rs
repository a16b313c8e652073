//! Whom to trust at the other end of an `https` target.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tunnel_common::config::Target;
use tunnel_common::error::ProxyError;

/// The TLS client set-ups, one for each set of authorities. The system's are read once, a file
/// again whenever it has changed.
#[derive(Debug, Default)]
pub(super) struct Trust {
    system: RefCell<Option<Client>>,
    files: RefCell<HashMap<PathBuf, (SystemTime, Client)>>,
    /// Why files cannot be used, as the log knows.
    problems: RefCell<HashMap<PathBuf, String>>,
}

impl Trust {
    /// The set-up for `target`. Its certificate is always verified.
    pub(super) async fn client(&self, target: &Target) -> Result<Client, ProxyError> {
        match &target.tls.ca {
            Some(path) => {
                let client = self.file(path).await;
                self.report(path, client.as_ref().err());
                client
            }
            None => self.system().await,
        }
    }

    /// Logs a problem once, and again when it is another.
    fn report(&self, path: &Path, problem: Option<&ProxyError>) {
        let mut problems = self.problems.borrow_mut();
        let Some(problem) = problem.map(ToString::to_string) else {
            problems.remove(path);
            return;
        };
        if problems.get(path) != Some(&problem) {
            tracing::warn!(problem, "targets with these authorities cannot be called");
            problems.insert(path.to_owned(), problem);
        }
    }

    async fn system(&self) -> Result<Client, ProxyError> {
        if let Some(client) = &*self.system.borrow() {
            return Ok(client.clone());
        }
        // Reads a hundred files and more on some systems; not on the data thread.
        let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
            .await
            .map_err(|error| ProxyError::Configuration(error.to_string().into()))?;
        let client = Client::new(found.certs).map_err(|reason| {
            let hint = "set `tls.ca` in the mapping, or mount the system's authorities";
            ProxyError::Configuration(format!("no system authorities: {reason}; {hint}").into())
        })?;
        Ok(self.system.borrow_mut().insert(client).clone())
    }

    async fn file(&self, path: &Path) -> Result<Client, ProxyError> {
        let failed = |reason: &dyn std::fmt::Display| {
            ProxyError::Configuration(format!("tls.ca {}: {reason}", path.display()).into())
        };
        let changed = modified(path).await.map_err(|error| failed(&error))?;
        if let Some((read, client)) = self.files.borrow().get(path)
            && *read == changed
        {
            return Ok(client.clone());
        }
        let pem = tokio::fs::read(path).await.map_err(|error| failed(&error))?;
        let certificates = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| failed(&error))?;
        let client = Client::new(certificates).map_err(|reason| failed(&reason))?;
        self.files.borrow_mut().insert(path.to_owned(), (changed, client.clone()));
        Ok(client)
    }
}

/// A TLS client with its authorities, cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// Offers HTTP/2 and HTTP/1.1.
    pub(super) any: Arc<ClientConfig>,
    /// Offers HTTP/1.1 only, for requests that HTTP/2 cannot carry.
    pub(super) http1: Arc<ClientConfig>,
}

impl Client {
    fn new(authorities: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        // A system's bundle may hold some that webpki does not read; one good one is enough.
        let (added, _) = roots.add_parsable_certificates(authorities);
        if added == 0 {
            return Err("no certificate found".to_owned());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut any = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http1 = any.clone();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        any.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { any: Arc::new(any), http1: Arc::new(http1) })
    }
}

/// The name that the target's certificate must be for.
pub(super) fn server_name(target: &Target) -> Result<ServerName<'static>, ProxyError> {
    if let Some(name) = &target.tls.server_name {
        return Ok(name.clone());
    }
    ServerName::try_from(target.host().to_owned()).map_err(|_| {
        let host = target.host();
        ProxyError::Configuration(
            format!("{host} cannot be in a certificate; set `tls.serverName` in the mapping")
                .into(),
        )
    })
}

/// What a failed handshake was about. rustls hides its error inside an [`io::Error`].
pub(super) fn handshake_failed(error: &io::Error, target: String) -> ProxyError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let reason = inner.map_or_else(|| error.to_string(), ToString::to_string);
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => ProxyError::TlsCertificate { target, reason },
        _ => ProxyError::TlsProtocol { target, reason },
    }
}

/// Follows links, so that a ConfigMap volume's swap of a link counts as a change.
async fn modified(path: &Path) -> io::Result<SystemTime> {
    tokio::fs::metadata(path).await?.modified()
}
