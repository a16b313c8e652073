//! SSH keys in the formats of OpenSSH.

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::{self, LineEnding};
use russh::keys::{Algorithm, PrivateKey};
use rustls::pki_types::ServerName;

use super::KeysError;

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
