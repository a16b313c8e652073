//! The files that prove who is who: made once by [`generate`], read at start and after a rotation.
//!
//! Each end gets one folder, for `--keys DIR`. TLS and SSH files lie side by side, so that the
//! transport can change without new keys. The private CA issues nothing but these certificates.

use std::io;
use std::path::{Path, PathBuf};

mod authority;
mod authorized_keys;
mod certificate;
mod files;
mod generate;
mod known_hosts;
mod reloaded;
mod secret;
mod ssh;
mod tls;

pub use self::authorized_keys::AuthorizedKeys;
pub(crate) use self::certificate::Certificate;
pub use self::files::read_private;
pub use self::generate::{Summary, generate, normal_name};
pub use self::known_hosts::{HostKeyProblem, KnownHosts};
pub(crate) use self::reloaded::Reloaded;
pub use self::secret::Secrets;
pub use self::ssh::{SshClientKeys, SshServerKeys};
pub use self::tls::TlsKeys;

/// The DNS name that the certificate of every `tunnel-send` has, whatever else it is called: by it
/// its siblings know each other. No cluster has it.
pub const SEND_NAME: &str = "tunnel-send";

/// Why keys could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The cluster cannot be the name in a certificate.
    #[error("the cluster {0:?} is not a DNS name: use letters, digits, `-` and `.`")]
    Cluster(String),
    /// The cluster has the name of `tunnel-send` itself.
    #[error("{SEND_NAME} names the other end: choose another --cluster")]
    ClusterReserved,
    /// The cluster has keys already.
    #[error("the cluster {cluster} has keys already (a line in {path}): choose another --cluster")]
    ClusterExists {
        /// The cluster.
        cluster: String,
        /// The `authorized_keys` file that lists it.
        path: PathBuf,
    },
    /// The cryptographic library failed.
    #[error("cannot make keys: {0}")]
    Crypto(String),
    /// A file of that name exists.
    #[error("{0} exists and is not overwritten: remove it, or choose another --out")]
    Exists(PathBuf),
    /// The content of a file is not what its name says.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A server's name is neither a DNS name nor an IP address.
    #[error("the name {0:?} is neither a DNS name nor an IP address")]
    Name(String),
    /// A further cluster was asked for, under a name that the server's certificate does not have.
    #[error("{path} is not for {name}: make all keys anew in another --out, with --name {name}")]
    NameMissing {
        /// The server's certificate.
        path: PathBuf,
        /// The name it lacks.
        name: String,
    },
    /// No name was given for the server.
    #[error("no server name: give each name or address that is dialled with --name")]
    NoNames,
    /// The keys of `tunnel-send` were given to the other end.
    #[error("{0} has the keys of {SEND_NAME}: use those of the other end (DIR/receive)")]
    OtherEnd(PathBuf),
    /// A private key is open to others than its owner.
    #[error("{path} is open to others (mode {mode:04o}): chmod 600 {path}")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The folder holds the folders of both ends instead of the files of one.
    #[error("{0} is the folder that `keys` made, not one end's: use {0}/send or {0}/receive")]
    WholeFolder(PathBuf),
    /// A file or folder cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Says so if a private key is missing because `folder` is that of both ends.
fn in_whole_folder(error: KeysError, folder: &Path) -> KeysError {
    match error {
        KeysError::Read { source, .. }
            if source.kind() == io::ErrorKind::NotFound
                && (folder.join("send").is_dir() || folder.join("receive").is_dir()) =>
        {
            KeysError::WholeFolder(folder.to_owned())
        }
        error => error,
    }
}
