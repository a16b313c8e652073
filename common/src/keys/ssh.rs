//! SSH keys in the formats of OpenSSH.

use std::fmt;
use std::path::{Path, PathBuf};

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::{self, LineEnding};
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey};
use rustls::pki_types::ServerName;

use super::authorized_keys::AuthorizedKeys;
use super::files::{read_private, read_text};
use super::known_hosts::KnownHosts;
use super::{KeysError, in_whole_folder};

/// What an embedded SSH server needs: `ssh_host_ed25519_key` and `authorized_keys` of a folder.
#[derive(Eq, PartialEq)]
pub struct SshServerKeys {
    /// By which clients know this server.
    pub host_key: PrivateKey,
    /// Who may open a tunnel.
    pub authorized: AuthorizedKeys,
}

impl SshServerKeys {
    /// Reads the files of `folder`, which is `DIR/send` of what
    /// [`generate`](super::generate()) made, or a Secret mounted with these names.
    ///
    /// # Errors
    /// A file is missing or malformed, or the host key is open to others (see
    /// [`read_private`](super::read_private())).
    pub fn load(folder: &Path) -> Result<Self, KeysError> {
        let host_key = load_private(folder, &folder.join("ssh_host_ed25519_key"))?;
        let path = folder.join("authorized_keys");
        let authorized = AuthorizedKeys::parse(&read_text(&path)?)
            .map_err(|reason| KeysError::Invalid { path, reason })?;
        Ok(Self { host_key, authorized })
    }
}

impl fmt::Debug for SshServerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshServerKeys").finish_non_exhaustive()
    }
}

/// What an embedded SSH client needs: `id_ed25519` (or `id_ecdsa`) and `known_hosts` of a folder.
#[derive(Clone, Eq, PartialEq)]
pub struct SshClientKeys {
    /// Proves who this client is.
    pub key: PrivateKey,
    /// The file of `key`.
    pub path: PathBuf,
    /// Which servers are trusted.
    pub known_hosts: KnownHosts,
}

impl SshClientKeys {
    /// Reads the files of `folder`, which is `DIR/receive` of what
    /// [`generate`](super::generate()) made, or a Secret mounted with these names.
    ///
    /// # Errors
    /// A file is missing or malformed, or the private key is open to others (see
    /// [`read_private`](super::read_private())).
    pub fn load(folder: &Path) -> Result<Self, KeysError> {
        let (ed25519, ecdsa) = (folder.join("id_ed25519"), folder.join("id_ecdsa"));
        let path = if !ed25519.exists() && ecdsa.exists() { ecdsa } else { ed25519 };
        let key = load_private(folder, &path)?;
        let hosts = folder.join("known_hosts");
        let known_hosts = KnownHosts::parse(&read_text(&hosts)?)
            .map_err(|reason| KeysError::Invalid { path: hosts, reason })?;
        Ok(Self { key, path, known_hosts })
    }
}

impl fmt::Debug for SshClientKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshClientKeys").finish_non_exhaustive()
    }
}

fn load_private(folder: &Path, path: &Path) -> Result<PrivateKey, KeysError> {
    let pem = read_private(path).map_err(|error| in_whole_folder(error, folder))?;
    let invalid =
        |reason: &str| KeysError::Invalid { path: path.to_owned(), reason: reason.into() };
    let key = PrivateKey::from_openssh(&pem)
        .map_err(|_| invalid("this is no private key in OpenSSH's format; see ssh-keygen"))?;
    if key.is_encrypted() {
        return Err(invalid("the key has a passphrase, which nobody could enter: ssh-keygen -p"));
    }
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 } => Ok(key),
        _ => Err(invalid("this type of key is not supported: ssh-keygen -t ed25519")),
    }
}

/// An Ed25519 key pair as OpenSSH keeps it in two files.
pub(super) struct SshKey {
    /// The private key file.
    pub(super) private: String,
    /// The line of the `.pub` file, which is also a line of `authorized_keys`.
    pub(super) public: String,
}

impl SshKey {
    /// A new pair. The comment is what `authorized_keys` knows the key's owner by.
    pub(super) fn generate(comment: &str) -> Result<Self, KeysError> {
        let mut key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519)?;
        key.set_comment(comment);
        Ok(Self {
            private: key.to_openssh(LineEnding::LF)?.to_string(),
            public: key.public_key().to_openssh()? + "\n",
        })
    }
}

/// The lines of `known_hosts` for a host key's `.pub` line: each name on port 22, on 2222, and on
/// any other port (a pattern that OpenSSH knows), as `ssh` looks them up.
pub(super) fn known_hosts(names: &[ServerName<'_>], host_key: &str) -> String {
    // Without the comment, which would only repeat itself.
    let key = host_key.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let lines = names.iter().map(|name| {
        let name = name.to_str();
        format!("{name} {key}\n[{name}]:2222 {key}\n[{name}]:* {key}\n")
    });
    lines.collect()
}

impl From<ssh_key::Error> for KeysError {
    fn from(error: ssh_key::Error) -> Self {
        Self::Crypto(error.to_string())
    }
}
