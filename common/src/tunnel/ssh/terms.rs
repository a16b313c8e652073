//! Algorithms and limits: what both ends of an SSH tunnel agree to.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, PrivateKey};
use russh::{
    Limits, MethodKind, MethodSet, Preferred, SshId, cipher, client, compression, kex, mac, server,
};

use crate::keys::{AuthorizedKeys, KeysError, Reloaded, SshClientKeys, SshServerKeys};

/// What may be asked of an SSH connection besides its defaults.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Terms {
    /// Bytes in one direction after which new keys are agreed; 1 GiB by default, which is what
    /// RFC 4253 §9 recommends and the most that may be asked for.
    pub rekey_bytes: usize,
}

impl Default for Terms {
    fn default() -> Self {
        Self { rekey_bytes: MAX_REKEY_BYTES }
    }
}

const MAX_REKEY_BYTES: usize = 1 << 30;

/// Keys are also renewed after this time.
const REKEY_TIME: Duration = Duration::from_secs(3600);

/// A peer that has said nothing for this long is asked whether it is there, and is given up after
/// the same time again.
const KEEPALIVE: Duration = Duration::from_millis(1250);

/// The same at the listening end. `russh` asks there before the login, too, which RFC 4252 §6 forbids and
/// which ends OpenSSH; so it must not come before the 5 s for the login have passed. Of a tunnel's peer
/// that is dead, the tunnel itself tells sooner.
const LISTENING_KEEPALIVE: Duration = Duration::from_secs(6);

/// What the peer may send before it hears that more is welcome: 200 ms at 1 Gbit/s take 26 MB,
/// and `russh` says so when half is left.
const WINDOW: u32 = 64 * 1024 * 1024;

/// The most that `russh` takes in one message.
const MAX_PACKET: u32 = 65_535;

/// Messages between `russh` and the tunnel's reader: 1 MiB, or 4 MiB if the peer ignores
/// [`MAX_PACKET`].
const CHANNEL_BUFFER: usize = 16;

/// How long a refused login takes, whatever was wrong with it.
const REJECTION: Duration = Duration::from_millis(100);

/// Keys that a client may try.
const MAX_ATTEMPTS: usize = 6;

/// The identification of both ends, without a version.
const ID: SshId = SshId::Standard(Cow::Borrowed("SSH-2.0-Isthmus"));

/// The listening side: its host key, and who may log in.
pub struct SshServer(Reloaded<SshServerKeys, (Arc<server::Config>, Arc<AuthorizedKeys>)>);

impl SshServer {
    /// Reads the keys of `folder`; see [`SshServerKeys::load`].
    ///
    /// # Errors
    /// The keys are missing, unreadable or malformed.
    pub fn new(folder: &Path, terms: Terms) -> Result<Self, KeysError> {
        let build = move |keys: &SshServerKeys| {
            let config = server_config(keys.host_key.clone(), &terms);
            Ok((Arc::new(config), Arc::new(keys.authorized.clone())))
        };
        Reloaded::new(folder, SshServerKeys::load, build).map(Self)
    }

    /// For the next connection.
    pub fn current(&self) -> (Arc<server::Config>, Arc<AuthorizedKeys>) {
        self.0.current()
    }
}

/// The dialling side: the client's key, and the servers that it trusts.
pub struct SshClient(Reloaded<SshClientKeys, (Arc<client::Config>, Arc<SshClientKeys>)>);

impl SshClient {
    /// Reads the keys of `folder`; see [`SshClientKeys::load`]. They are for the server at `host`
    /// and `port`.
    ///
    /// # Errors
    /// The keys are missing, unreadable or malformed.
    pub fn new(folder: &Path, host: &str, port: u16, terms: Terms) -> Result<Self, KeysError> {
        let host = host.to_owned();
        let build = move |keys: &SshClientKeys| {
            let known = keys.known_hosts.algorithms(&host, port);
            let config = client_config(&known, &terms);
            Ok((Arc::new(config), Arc::new(keys.clone())))
        };
        Reloaded::new(folder, SshClientKeys::load, build).map(Self)
    }

    /// For the next connection.
    pub fn current(&self) -> (Arc<client::Config>, Arc<SshClientKeys>) {
        self.0.current()
    }
}

pub(super) fn server_config(host_key: PrivateKey, terms: &Terms) -> server::Config {
    server::Config {
        server_id: ID,
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        auth_rejection_time: REJECTION,
        // Each client begins with this question, and its answer tells nothing.
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![host_key],
        limits: limits(terms),
        window_size: WINDOW,
        maximum_packet_size: MAX_PACKET,
        channel_buffer_size: CHANNEL_BUFFER,
        preferred: preferred(kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER, USER_KEYS.to_vec()),
        max_auth_attempts: MAX_ATTEMPTS,
        // The keepalive tells the idle from the dead.
        inactivity_timeout: None,
        keepalive_interval: Some(LISTENING_KEEPALIVE),
        keepalive_max: 1,
        ..server::Config::default()
    }
}

pub(super) fn client_config(known: &[Algorithm], terms: &Terms) -> client::Config {
    let rest = HOST_KEYS.iter().filter(|algorithm| !known.contains(algorithm)).cloned();
    let host_keys = known.iter().cloned().chain(rest).collect();
    client::Config {
        client_id: ID,
        limits: limits(terms),
        window_size: WINDOW,
        maximum_packet_size: MAX_PACKET,
        channel_buffer_size: CHANNEL_BUFFER,
        preferred: preferred(kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT, host_keys),
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: 1,
        ..client::Config::default()
    }
}

/// The types of clients' keys; the server's own is Ed25519.
const USER_KEYS: &[Algorithm] =
    &[Algorithm::Ed25519, Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }];

/// The types of host keys that stock servers have.
const HOST_KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
];

fn limits(terms: &Terms) -> Limits {
    let bytes = terms.rekey_bytes.min(MAX_REKEY_BYTES);
    Limits { rekey_write_limit: bytes, rekey_read_limit: bytes, rekey_time_limit: REKEY_TIME }
}

fn preferred(strict: kex::Name, keys: Vec<Algorithm>) -> Preferred {
    let extension = match strict {
        kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT => kex::EXTENSION_SUPPORT_AS_CLIENT,
        _ => kex::EXTENSION_SUPPORT_AS_SERVER,
    };
    Preferred {
        kex: Cow::Owned(vec![
            kex::MLKEM768X25519_SHA256,
            // For clients of before OpenSSH 9.9.
            kex::CURVE25519,
            extension,
            strict,
        ]),
        key: Cow::Owned(keys),
        cipher: Cow::Borrowed(match has_aes() {
            true => &[cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::CHACHA20_POLY1305],
            false => &[cipher::CHACHA20_POLY1305, cipher::AES_256_GCM, cipher::AES_128_GCM],
        }),
        // Unused, as all ciphers authenticate; but a list may not be empty.
        mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM]),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    }
}

/// Whether the processor has instructions for AES-GCM, which take 40 % less time than ChaCha20.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("aes") && is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}
