//! The private certificate authority of one bridge.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::pki_types::{DnsName, ServerName};

use super::files::read_private;
use super::{KeysError, SEND_NAME};

/// How long everything is valid from now on: ten years. The bridge's trust ends by replacing the
/// CA, not by waiting.
const VALIDITY: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Certificates are valid from a day ago on, for clocks that are behind.
const CLOCK_SKEW: Duration = Duration::from_secs(86_400);

/// Issues the certificates of both ends.
pub(super) struct Authority(Issuer<'static, KeyPair>);

/// A certificate or chain with its private key, both as PEM.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    /// A new authority, and its own certificate and key.
    pub(super) fn generate() -> Result<(Self, Issued), KeysError> {
        let key = KeyPair::generate()?;
        let params = Self::params(&key);
        let issued =
            Issued { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() };
        Ok((Self(Issuer::new(params, key)), issued))
    }

    /// The authority that [`generate`](Self::generate) made, from its key.
    pub(super) fn load(path: PathBuf) -> Result<Self, KeysError> {
        let pem = read_private(&path)?;
        let key = str::from_utf8(&pem)
            .ok()
            .and_then(|pem| KeyPair::from_pem(pem).ok())
            .ok_or(KeysError::Invalid { path, reason: "this is no private key in PEM".into() })?;
        Ok(Self(Issuer::new(Self::params(&key), key)))
    }

    /// The certificate of `send`, for all the names that are dialled.
    pub(super) fn issue_server(&self, names: &[ServerName<'_>]) -> Result<Issued, KeysError> {
        let own = std::iter::once(Ok(SanType::DnsName(SEND_NAME.try_into()?)));
        let names = names.iter().map(|name| match name {
            ServerName::IpAddress(address) => Ok(SanType::IpAddress((*address).into())),
            name => Ok(SanType::DnsName(name.to_str().as_ref().try_into()?)),
        });
        self.issue(
            "Isthmus tunnel-send",
            own.chain(names).collect::<Result<_, KeysError>>()?,
            // It dials its siblings, too.
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        )
    }

    /// The certificate of a `receive`, which proves its cluster.
    pub(super) fn issue_client(&self, cluster: &DnsName<'_>) -> Result<Issued, KeysError> {
        self.issue(
            "Isthmus tunnel-receive",
            vec![SanType::DnsName(cluster.as_ref().try_into()?)],
            vec![ExtendedKeyUsagePurpose::ClientAuth],
        )
    }

    fn issue(
        &self,
        subject: &str,
        names: Vec<SanType>,
        purposes: Vec<ExtendedKeyUsagePurpose>,
    ) -> Result<Issued, KeysError> {
        // P-256 rather than Ed25519, which not every TLS peer accepts in certificates.
        let key = KeyPair::generate()?;
        let mut params = Self::base(subject);
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = purposes;
        params.use_authority_key_identifier_extension = true;
        Ok(Issued { certificate: params.signed_by(&key, &self.0)?.pem(), key: key.serialize_pem() })
    }

    /// The name follows from the key: unique, so that a foreign authority is reported as unknown
    /// and not as a bad signature, and found again when a further cluster is issued.
    fn params(key: &KeyPair) -> CertificateParams {
        let digest = digest(&SHA256, key.der_bytes());
        let id: String = digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let mut params = Self::base(&format!("Isthmus CA {id}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    fn base(subject: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.not_before = (SystemTime::now() - CLOCK_SKEW).into();
        params.not_after = (SystemTime::now() + VALIDITY).into();
        params
    }
}

impl From<rcgen::Error> for KeysError {
    fn from(error: rcgen::Error) -> Self {
        Self::Crypto(error.to_string())
    }
}
