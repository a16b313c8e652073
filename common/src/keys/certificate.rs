//! A server's certificate with its key, as a Kubernetes TLS Secret holds it.

use std::fmt;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::KeysError;
use super::files::read_private;
use super::tls::certificates;

/// `tls.crt` and `tls.key` of a folder. Two are equal if both files say the same.
#[derive(Eq, PartialEq)]
pub(crate) struct Certificate {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Certificate {
    /// # Errors
    /// A file is missing, is not PEM, or `tls.key` is open to others.
    pub(crate) fn load(folder: &Path) -> Result<Self, KeysError> {
        let path = folder.join("tls.key");
        let key = read_private(&path)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| KeysError::Invalid {
            path,
            reason: "this is no private key in PEM".into(),
        })?;
        Ok(Self { chain: certificates(folder.join("tls.crt"))?, key })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}
