//! The TLS part of one end's keys.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use webpki::EndEntityCert;

use super::certificate::Certificate;
use super::files::read_public;
use super::{KeysError, in_whole_folder};

/// One end's TLS identity and whom it trusts: `tls.crt`, `tls.key` and `ca.crt` of a folder.
///
/// Two are equal if all three files say the same.
#[derive(Eq, PartialEq)]
pub struct TlsKeys {
    /// This end's certificate, and intermediate ones if there are any.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// The private key of the first certificate.
    pub(crate) key: PrivateKeyDer<'static>,
    /// The authorities that issue the other end's certificate; at least one.
    pub(crate) authorities: Vec<CertificateDer<'static>>,
}

impl TlsKeys {
    /// Reads the files of `folder`, which is `DIR/send` or `DIR/receive` of what
    /// [`generate`](super::generate()) made, or a Secret mounted with these names.
    ///
    /// # Errors
    /// A file is missing, is not PEM, or `tls.key` is open to others (see
    /// [`read_private`](super::read_private())).
    pub fn load(folder: &Path) -> Result<Self, KeysError> {
        let Certificate { chain, key } =
            Certificate::load(folder).map_err(|error| in_whole_folder(error, folder))?;
        Ok(Self { chain, key, authorities: certificates(folder.join("ca.crt"))? })
    }

    /// Whether the certificate has this DNS name.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        let certificate = self.chain.first().and_then(|own| EndEntityCert::try_from(own).ok());
        certificate.is_some_and(|own| own.valid_dns_names().any(|known| known == name))
    }
}

impl fmt::Debug for TlsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsKeys").finish_non_exhaustive()
    }
}

/// The certificates of a PEM file; at least one.
pub(super) fn certificates(path: PathBuf) -> Result<Vec<CertificateDer<'static>>, KeysError> {
    let pem = read_public(&path)?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(KeysError::Invalid { path, reason: "this is no certificate in PEM".into() }),
    }
}
