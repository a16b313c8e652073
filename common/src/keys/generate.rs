//! Makes the keys of a whole bridge, or of one more cluster.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustls::pki_types::{DnsName, ServerName};
use webpki::EndEntityCert;

use super::authority::Authority;
use super::files::{NewFile, read_text};
use super::ssh::{SshKey, known_hosts};
use super::tls::certificates;
use super::{KeysError, SEND_NAME};

/// What [`generate`] made; its `Display` tells the user what to do with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Summary {
    /// The folder for `tunnel-send --keys`.
    pub send: PathBuf,
    /// The folder for the new cluster's `tunnel-receive --keys`.
    pub receive: PathBuf,
    /// The folder of the authority, which no process needs.
    pub ca: PathBuf,
}

/// Makes the keys for a bridge under `out`: a private CA and, for each end, a TLS certificate and
/// an SSH key, valid for ten years.
///
/// `names` are the DNS names and IP addresses under which `tunnel-receive` dials `tunnel-send`.
/// `cluster` is the name that `tunnel-receive` proves; it must be a DNS name.
///
/// Where `out` holds a CA already, only one more cluster is added, in `out/receive-CLUSTER`, and
/// its SSH key is appended to `out/send/authorized_keys`.
///
/// # Errors
/// A name is invalid, a file exists (nothing is ever overwritten), or writing fails.
pub fn generate(out: &Path, names: &[String], cluster: &str) -> Result<Summary, KeysError> {
    let bridge = Bridge::new(out, names)?;
    let cluster = parse_cluster(cluster)?;
    let receive = match bridge.ca.join("ca.key").exists() {
        true => bridge.add(&cluster, out.join(format!("receive-{}", cluster.as_ref())))?,
        false => {
            let receive = out.join("receive");
            NewFile::write_all(&bridge.create(&cluster, &receive)?)?;
            receive
        }
    };
    Ok(Summary { send: bridge.send, receive, ca: bridge.ca })
}

/// Makes the same keys without writing any; the paths begin with `send`, `receive` and `ca`.
pub(super) fn in_memory(names: &[String], cluster: &str) -> Result<Vec<NewFile>, KeysError> {
    Bridge::new(Path::new(""), names)?.create(&parse_cluster(cluster)?, Path::new("receive"))
}

fn parse_cluster(cluster: &str) -> Result<DnsName<'static>, KeysError> {
    let name = DnsName::try_from(normal_name(cluster))
        .map_err(|_| KeysError::Cluster(cluster.to_owned()))?;
    if name.as_ref() == SEND_NAME {
        return Err(KeysError::ClusterReserved);
    }
    Ok(name)
}

fn parse_name(name: &str) -> Result<ServerName<'static>, KeysError> {
    ServerName::try_from(normal_name(name)).map_err(|_| KeysError::Name(name.to_owned()))
}

/// A name as certificates hold it, by which clusters are compared: in lower case and without the root's
/// dot.
pub fn normal_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

struct Bridge {
    ca: PathBuf,
    send: PathBuf,
    names: Vec<ServerName<'static>>,
}

impl Bridge {
    fn new(out: &Path, names: &[String]) -> Result<Self, KeysError> {
        let names = names.iter().map(|name| parse_name(name)).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Err(KeysError::NoNames);
        }
        Ok(Self { ca: out.join("ca"), send: out.join("send"), names })
    }

    fn create(&self, cluster: &DnsName<'_>, receive: &Path) -> Result<Vec<NewFile>, KeysError> {
        let (authority, ca) = Authority::generate()?;
        let server = authority.issue_server(&self.names)?;
        let host_key = SshKey::generate("tunnel-send")?;
        let user_key = SshKey::generate(cluster.as_ref())?;

        let mut files = vec![
            NewFile::private(self.ca.join("ca.key"), ca.key),
            NewFile::public(self.ca.join("ca.crt"), ca.certificate.clone()),
            NewFile::private(self.send.join("tls.key"), server.key),
            NewFile::public(self.send.join("tls.crt"), server.certificate),
            NewFile::public(self.send.join("ca.crt"), ca.certificate.clone()),
            NewFile::private(self.send.join("ssh_host_ed25519_key"), host_key.private),
            NewFile::public(self.send.join("ssh_host_ed25519_key.pub"), host_key.public.clone()),
            NewFile::public(self.send.join("authorized_keys"), user_key.public.clone()),
        ];
        let receiver = Receiver { cluster, ca: ca.certificate, host_key: host_key.public };
        files.extend(receiver.files(receive, &authority, user_key, &self.names)?);
        Ok(files)
    }

    fn add(&self, cluster: &DnsName<'_>, receive: PathBuf) -> Result<PathBuf, KeysError> {
        self.check_names()?;
        let authorized_keys = self.send.join("authorized_keys");
        let known = read_text(&authorized_keys)?;
        if known.lines().any(|line| line.split_whitespace().next_back() == Some(cluster.as_ref())) {
            let cluster = cluster.as_ref().to_owned();
            return Err(KeysError::ClusterExists { cluster, path: authorized_keys });
        }

        let authority = Authority::load(self.ca.join("ca.key"))?;
        let user_key = SshKey::generate(cluster.as_ref())?;
        // Some editors leave the last line open.
        let open = !known.is_empty() && !known.ends_with('\n');
        let line = [if open { "\n" } else { "" }, &user_key.public].concat();
        let receiver = Receiver {
            cluster,
            ca: read_text(&self.ca.join("ca.crt"))?,
            host_key: read_text(&self.send.join("ssh_host_ed25519_key.pub"))?,
        };
        NewFile::write_all(&receiver.files(&receive, &authority, user_key, &self.names)?)?;
        OpenOptions::new()
            .append(true)
            .open(&authorized_keys)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|source| KeysError::Write { path: authorized_keys, source })?;
        Ok(receive)
    }

    /// The server's certificate is not issued again, so it must have all names.
    fn check_names(&self) -> Result<(), KeysError> {
        let path = self.send.join("tls.crt");
        let chain = certificates(path.clone())?;
        let certificate = chain.first().and_then(|first| EndEntityCert::try_from(first).ok());
        let Some(certificate) = certificate else {
            return Err(KeysError::Invalid { path, reason: "the certificate is broken".into() });
        };
        for name in &self.names {
            if certificate.verify_is_valid_for_subject_name(name).is_err() {
                return Err(KeysError::NameMissing { path, name: name.to_str().into_owned() });
            }
        }
        Ok(())
    }
}

/// What a cluster's `receive` needs to know of the bridge.
struct Receiver<'a> {
    cluster: &'a DnsName<'a>,
    ca: String,
    host_key: String,
}

impl Receiver<'_> {
    fn files(
        self,
        folder: &Path,
        authority: &Authority,
        user_key: SshKey,
        names: &[ServerName<'_>],
    ) -> Result<[NewFile; 6], KeysError> {
        let client = authority.issue_client(self.cluster)?;
        Ok([
            NewFile::private(folder.join("tls.key"), client.key),
            NewFile::public(folder.join("tls.crt"), client.certificate),
            NewFile::public(folder.join("ca.crt"), self.ca),
            NewFile::private(folder.join("id_ed25519"), user_key.private),
            NewFile::public(folder.join("id_ed25519.pub"), user_key.public),
            NewFile::public(folder.join("known_hosts"), known_hosts(names, &self.host_key)),
        ])
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: for tunnel-send --keys", self.send.display())?;
        writeln!(f, "{}: for tunnel-receive --keys", self.receive.display())?;
        write!(
            f,
            "{}: keep it offline; with it and send, further clusters get keys",
            self.ca.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::super::TlsKeys;
    use super::*;

    fn make(out: &Path, names: &[&str], cluster: &str) -> Result<Summary, String> {
        let names: Vec<_> = names.iter().copied().map(String::from).collect();
        generate(out, &names, cluster).map_err(|error| error.to_string())
    }

    /// Runs a tool that must succeed, in `folder`; returns what it prints.
    fn run(folder: &Path, line: &str) -> String {
        let mut words = line.split(' ');
        let output = Command::new(words.next().unwrap())
            .args(words)
            .current_dir(folder)
            .output()
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn openssl_and_openssh_accept_the_files() {
        let out = tempfile::tempdir().unwrap();
        let out = out.path();
        make(out, &["Bridge.example.com.", "10.0.0.1", "fd00::1"], "b1").unwrap();

        for check in [
            "-purpose sslserver -verify_hostname bridge.example.com -CAfile ca/ca.crt send/tls.crt",
            "-purpose sslserver -verify_ip 10.0.0.1 -CAfile receive/ca.crt send/tls.crt",
            "-purpose sslserver -verify_ip fd00::1 -CAfile receive/ca.crt send/tls.crt",
            "-purpose sslclient -verify_hostname b1 -CAfile send/ca.crt receive/tls.crt",
        ] {
            run(out, &format!("openssl verify -x509_strict {check}"));
        }
        for key in ["send/ssh_host_ed25519_key", "receive/id_ed25519"] {
            let public = fs::read_to_string(out.join(format!("{key}.pub"))).unwrap();
            assert_eq!(run(out, &format!("ssh-keygen -y -f {key}")).trim(), public.trim());
            assert!(run(out, &format!("ssh-keygen -l -f {key}.pub")).contains("(ED25519)"));
        }
        assert!(run(out, "ssh-keygen -l -f send/authorized_keys").contains(" b1 "));
        for host in ["bridge.example.com", "[bridge.example.com]:2222", "10.0.0.1", "[fd00::1]:9"] {
            let found = run(out, &format!("ssh-keygen -F {host} -f receive/known_hosts"));
            assert!(found.contains("ssh-ed25519"), "{host}");
        }
    }

    #[test]
    fn only_the_owner_reads_private_files() {
        let out = tempfile::tempdir().unwrap();
        let out = out.path();
        make(out, &["a.example"], "b1").unwrap();
        let mode = |path: &str| out.join(path).metadata().unwrap().permissions().mode() & 0o777;
        for folder in ["ca", "send", "receive"] {
            assert_eq!(mode(folder), 0o700, "{folder}");
        }
        let private =
            ["ca/ca.key", "send/tls.key", "send/ssh_host_ed25519_key", "receive/id_ed25519"];
        for file in private {
            assert_eq!(mode(file), 0o600, "{file}");
        }

        let key = out.join("receive/tls.key");
        fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
        let error = TlsKeys::load(&out.join("receive")).unwrap_err().to_string();
        let path = key.display();
        assert_eq!(error, format!("{path} is open to others (mode 0644): chmod 600 {path}"));
    }

    #[test]
    fn loads_one_ends_folder() {
        let out = tempfile::tempdir().unwrap();
        make(out.path(), &["a.example"], "b1").unwrap();
        let keys = TlsKeys::load(&out.path().join("send")).unwrap();
        assert!(keys == TlsKeys::load(&out.path().join("send")).unwrap());
        assert!(keys != TlsKeys::load(&out.path().join("receive")).unwrap());
        assert_eq!(format!("{keys:?}"), "TlsKeys { .. }");

        let error = TlsKeys::load(out.path()).unwrap_err().to_string();
        assert!(error.contains("/send or "), "{error}");
        let error = TlsKeys::load(&out.path().join("none")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read ") && error.ends_with("/none/tls.key"), "{error}");
        fs::write(out.path().join("send/ca.crt"), "no").unwrap();
        let error = TlsKeys::load(&out.path().join("send")).unwrap_err().to_string();
        assert!(error.ends_with("send/ca.crt: this is no certificate in PEM"), "{error}");
    }

    #[test]
    fn overwrites_nothing() {
        let out = tempfile::tempdir().unwrap();
        fs::create_dir(out.path().join("receive")).unwrap();
        fs::write(out.path().join("receive/id_ed25519"), "mine").unwrap();
        let error = make(out.path(), &["a.example"], "b1").unwrap_err();
        assert!(error.contains("receive/id_ed25519 exists"), "{error}");
        assert!(!out.path().join("ca").exists());
    }

    #[test]
    fn adds_one_more_cluster_to_the_same_ca() {
        let out = tempfile::tempdir().unwrap();
        let out = out.path();
        make(out, &["a.example", "10.0.0.1"], "b1").unwrap();
        let server = fs::read(out.join("send/tls.crt")).unwrap();
        let authorized_keys = out.join("send/authorized_keys");
        let open_line = fs::read_to_string(&authorized_keys).unwrap().trim_end().to_owned();
        fs::write(&authorized_keys, open_line).unwrap();

        let summary = make(out, &["a.example"], "b2").unwrap();
        assert_eq!(summary.receive, out.join("receive-b2"));
        assert_eq!(fs::read(out.join("send/tls.crt")).unwrap(), server);
        run(out, "openssl verify -purpose sslclient -CAfile ca/ca.crt receive-b2/tls.crt");
        let known = run(out, "ssh-keygen -l -f send/authorized_keys");
        assert!(known.contains(" b1 ") && known.contains(" b2 "), "{known}");

        for (name, cluster, part) in [
            ("a.example", "b2", "has keys already"),
            ("a.example", "b1", "has keys already"),
            ("b.example", "b3", "send/tls.crt is not for b.example"),
        ] {
            let error = make(out, &[name], cluster).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn refuses_names_that_no_certificate_can_hold() {
        let out = tempfile::tempdir().unwrap();
        for name in ["", "a b", "*.example.com", "https://a.example", "a.example:8443", "a..b"] {
            let error = make(out.path(), &[name], "b1").unwrap_err();
            assert!(error.contains("neither a DNS name"), "{error}");
        }
        for cluster in ["", "b/1", "..", "b 1", "10.0.0.1", "\u{e9}"] {
            let error = make(out.path(), &["a.example"], cluster).unwrap_err();
            assert!(error.contains("is not a DNS name"), "{error}");
        }
        assert!(make(out.path(), &[], "b1").unwrap_err().contains("no server name"));
        assert!(out.path().read_dir().unwrap().next().is_none());
    }
}
