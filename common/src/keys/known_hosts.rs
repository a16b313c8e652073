//! `known_hosts`: which host key an SSH server must show.

use aws_lc_rs::hmac;
use russh::keys::ssh_key::HashAlg;
use russh::keys::ssh_key::known_hosts::{HostPatterns, Marker};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, PublicKey};

/// The host keys that are trusted, in OpenSSH's format: names with wildcards and negation, hashed
/// names, and `@revoked`. Certificate authorities of hosts are not supported; their lines count
/// for nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KnownHosts(Vec<Line>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Line {
    number: usize,
    marker: Option<Marker>,
    hosts: HostPatterns,
    key: KeyData,
}

/// Why a host key is not trusted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HostKeyProblem {
    /// The host is known by another key.
    #[error("line {0} has another one for this host")]
    Changed(usize),
    /// The key is not to be used any more.
    #[error("line {0} revokes it")]
    Revoked(usize),
    /// The host has no key there.
    #[error("it has none for this host")]
    Unknown,
}

impl KnownHosts {
    /// Reads the lines of a file. Lines with keys of a type that is not supported are skipped, as
    /// a server may have several. The error names the line, counted from 1.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let parsed = parse_line(number + 1, line);
                lines.extend(parsed.map_err(|why| format!("line {}: {why}", number + 1))?);
            }
        }
        Ok(Self(lines))
    }

    /// Whether `key` is that of the server at `host` and `port`.
    pub fn check(&self, host: &str, port: u16, key: &PublicKey) -> Result<(), HostKeyProblem> {
        let name = name(host, port);
        let of_host = || self.of_host(&name);
        let same = |line: &&Line| line.key == *key.key_data();
        let is_revoked = |line: &&Line| line.marker == Some(Marker::Revoked);
        if let Some(line) = of_host().filter(is_revoked).find(same) {
            return Err(HostKeyProblem::Revoked(line.number));
        }
        let mut trusted = of_host().filter(|line| line.marker.is_none()).peekable();
        match (trusted.peek().map(|line| line.number), trusted.any(|line| same(&line))) {
            (_, true) => Ok(()),
            (Some(first), false) => Err(HostKeyProblem::Changed(first)),
            (None, _) => Err(HostKeyProblem::Unknown),
        }
    }

    /// The key algorithms that the server at `host` and `port` is known by: it should be asked
    /// for one of these, as it may have more keys.
    pub fn algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let name = name(host, port);
        let own = self.of_host(&name).filter(|line| line.marker.is_none());
        own.map(|line| line.key.algorithm()).collect()
    }

    /// The line that makes `key` known.
    pub fn line(host: &str, port: u16, key: &PublicKey) -> String {
        let key = PublicKey::from(key.key_data().clone());
        format!("{} {}", name(host, port), key.to_openssh().unwrap_or_default().trim_end())
    }

    /// How a key is shown to people.
    pub fn fingerprint(key: &PublicKey) -> String {
        key.fingerprint(HashAlg::Sha256).to_string()
    }

    fn of_host(&self, name: &str) -> impl Iterator<Item = &Line> {
        self.0.iter().filter(move |line| covers(&line.hosts, name))
    }
}

/// As OpenSSH writes a host: bare on port 22.
fn name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    match port {
        22 => host,
        port => format!("[{host}]:{port}"),
    }
}

fn parse_line(number: usize, line: &str) -> Result<Option<Line>, String> {
    let mut fields = line.split_ascii_whitespace().peekable();
    let marker = match fields.next_if(|field| field.starts_with('@')) {
        Some(marker) => Some(marker.parse().map_err(|_| format!("{marker} is no marker"))?),
        None => None,
    };
    let (Some(hosts), Some(kind), Some(blob)) = (fields.next(), fields.next(), fields.next())
    else {
        return Err("this is no host key: write \"HOST TYPE BASE64\"".into());
    };
    if !matches!(kind, "ssh-ed25519" | "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384") {
        return Ok(None);
    }
    let key = PublicKey::from_openssh(&format!("{kind} {blob}"))
        .map_err(|error| format!("the key is broken ({error})"))?;
    let hosts = hosts.parse().map_err(|_| "the hashed name is broken".to_owned())?;
    Ok(Some(Line { number, marker, hosts, key: key.key_data().clone() }))
}

fn covers(hosts: &HostPatterns, name: &str) -> bool {
    match hosts {
        HostPatterns::HashedName { salt, hash } => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::verify(&key, name.as_bytes(), hash).is_ok()
        }
        HostPatterns::Patterns(patterns) => {
            let any = |negated: bool| {
                patterns.iter().any(|pattern| match pattern.strip_prefix('!') {
                    Some(pattern) => negated && matches(pattern, name),
                    None => !negated && matches(pattern, name),
                })
            };
            any(false) && !any(true)
        }
    }
}

/// `*` stands for any characters, `?` for one. Takes time in proportion to the product of the
/// lengths, whatever the pattern.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase(), name.as_bytes());
    // Entry i tells whether the pattern so far covers the first i bytes of the name.
    let mut covered = vec![false; name.len() + 1];
    covered.splice(..1, [true]);
    for wanted in pattern.bytes() {
        let mut before = false;
        for (entry, byte) in covered.iter_mut().zip([None].into_iter().chain(name.iter().map(Some)))
        {
            let here = *entry;
            *entry = match wanted {
                b'*' => here || before,
                wanted => before && byte.is_some_and(|byte| wanted == b'?' || wanted == *byte),
            };
            before = if wanted == b'*' { *entry } else { here };
        }
    }
    covered.last().is_some_and(|whole| *whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    const B: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn check(text: &str, host: &str, port: u16) -> Result<(), HostKeyProblem> {
        let key = PublicKey::from_openssh(A).unwrap();
        KnownHosts::parse(text).unwrap().check(host, port, &key)
    }

    #[test]
    fn a_host_is_known_by_its_key() {
        let text = format!("# c\n\na.example,10.0.0.1 {A} x\n[a.example]:2222 {A}\n");
        for (host, port) in [("a.example", 22), ("A.Example", 2222), ("10.0.0.1", 22)] {
            assert_eq!(check(&text, host, port), Ok(()), "{host}");
        }
        assert_eq!(check(&text, "b.example", 22), Err(HostKeyProblem::Unknown));
        assert_eq!(check(&text, "a.example", 23), Err(HostKeyProblem::Unknown));
        let other = format!("a.example {B}\n");
        assert_eq!(check(&other, "a.example", 22), Err(HostKeyProblem::Changed(1)));
        let both = format!("a.example {B}\na.example {A}");
        assert_eq!(check(&both, "a.example", 22), Ok(()));
    }

    #[test]
    fn patterns_and_markers() {
        for (hosts, known) in [
            ("[a.example]:*", true),
            ("[*]:2222", true),
            ("[a.exampl?]:2222", true),
            ("*", true),
            ("*,![a.example]:2222", false),
            ("![a.example]:2222,*", false),
            ("![b.example]:2222,*", true),
            ("[a.example]:222", false),
            ("[a.example]:2222?", false),
            ("*a*a*", true),
            ("*a*z*", false),
        ] {
            let found = check(&format!("{hosts} {A}"), "a.example", 2222).is_ok();
            assert_eq!(found, known, "{hosts}");
        }
        let revoked = format!("a.example {A}\n@revoked * {A}");
        assert_eq!(check(&revoked, "a.example", 22), Err(HostKeyProblem::Revoked(2)));
        let authority = format!("@cert-authority * {A}");
        assert_eq!(check(&authority, "a.example", 22), Err(HostKeyProblem::Unknown));
    }

    #[test]
    fn hashed_names_of_openssh() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        std::fs::write(&file, format!("[a.example]:2222 {A}\n")).unwrap();
        let hashed = std::process::Command::new("ssh-keygen").arg("-Hf").arg(&file).output();
        assert!(hashed.unwrap().status.success());
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.starts_with("|1|"), "{text}");
        assert_eq!(check(&text, "a.example", 2222), Ok(()));
        assert_eq!(check(&text, "a.example", 22), Err(HostKeyProblem::Unknown));
    }

    #[test]
    fn its_own_line_makes_a_key_known() {
        let key = PublicKey::from_openssh(&format!("{A} someone")).unwrap();
        for (host, port) in [("a.example", 22), ("fd00::1", 2222)] {
            let line = KnownHosts::line(host, port, &key);
            assert_eq!(check(&line, host, port), Ok(()), "{line}");
        }
    }

    #[test]
    fn says_which_line_is_broken() {
        for (line, part) in [
            ("a.example", "no host key"),
            ("@what a.example ssh-ed25519 AAAA", "@what is no marker"),
            ("a.example ssh-ed25519 AAAA", "the key is broken"),
        ] {
            let error = KnownHosts::parse(&format!("a {A}\n{line}")).unwrap_err();
            assert!(error.starts_with("line 2: ") && error.contains(part), "{error}");
        }
        let skipped = KnownHosts::parse("a.example ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ");
        assert_eq!(skipped, Ok(KnownHosts::default()));
    }

    proptest! {
        #[test]
        fn survives_any_text(text in ".{0,60}", hosts in "[a*?!,\\[\\]|1=@]{0,20}") {
            let _ = KnownHosts::parse(&text);
            if let Ok(known) = KnownHosts::parse(&format!("{hosts} {A}")) {
                let _ = known.check(&text, 1, &PublicKey::from_openssh(A).unwrap());
            }
        }
    }
}
