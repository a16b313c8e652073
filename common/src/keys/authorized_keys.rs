//! `authorized_keys`: who may open an SSH tunnel.

use russh::keys::PublicKey;
use russh::keys::ssh_key::HashAlg;
use russh::keys::ssh_key::public::KeyData;

use super::generate::normal_name;

/// The keys that may open a tunnel, each with the name of its cluster; in OpenSSH's format.
///
/// A line is `[OPTIONS] TYPE BASE64 NAME`. The options that OpenSSH has against shells and other
/// forwards are accepted and change nothing, as the embedded server grants none of that;
/// `permitlisten` neither, as it opens no port. Options that would restrict a tunnel are refused
/// with their line, so that none is silently ignored.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AuthorizedKeys(Vec<(KeyData, String)>);

impl AuthorizedKeys {
    /// Reads the lines of a file. The error names the line, counted from 1, and what to do.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                keys.push(parse_line(line).map_err(|why| format!("line {}: {why}", number + 1))?);
            }
        }
        Ok(Self(keys))
    }

    /// The cluster that `key` stands for; `None` if it may not open a tunnel.
    pub fn cluster(&self, key: &PublicKey) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == key.key_data());
        found.map(|(_, cluster)| cluster.as_str())
    }
}

/// A key and its comment. A key without one is called by its fingerprint.
fn parse_line(line: &str) -> Result<(KeyData, String), String> {
    let (first, rest) = split_field(line);
    let (kind, rest) = match is_key_type(first) {
        true => (first, rest),
        false => {
            check_options(first)?;
            split_field(rest)
        }
    };
    if !is_key_type(kind) {
        return Err("this is no key: write it as in a .pub file, \"ssh-ed25519 AAAA… NAME\"".into());
    }
    let (blob, comment) = split_field(rest);
    let key = PublicKey::from_openssh(&format!("{kind} {blob}")).map_err(|error| match kind {
        "ssh-ed25519" | "ecdsa-sha2-nistp256" => format!("the key is broken ({error})"),
        kind => format!("a key of type {kind} is not supported: use ssh-ed25519"),
    })?;
    if !matches!(kind, "ssh-ed25519" | "ecdsa-sha2-nistp256") {
        return Err(format!("a key of type {kind} is not supported: use ssh-ed25519"));
    }
    let name = match comment {
        "" => key.fingerprint(HashAlg::Sha256).to_string(),
        comment => normal_name(comment),
    };
    Ok((key.key_data().clone(), name))
}

fn is_key_type(field: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| field.starts_with(start))
}

/// The first field, which ends at a space outside quotes, and what follows.
fn split_field(text: &str) -> (&str, &str) {
    let mut quoted = false;
    let end = text.find(|char: char| {
        quoted ^= char == '"';
        !quoted && char.is_ascii_whitespace()
    });
    let (field, rest) = text.split_at(end.unwrap_or(text.len()));
    (field, rest.trim_start())
}

fn check_options(options: &str) -> Result<(), String> {
    let mut quoted = false;
    let split = options.split(|char: char| {
        quoted ^= char == '"';
        !quoted && char == ','
    });
    for option in split {
        let name = option.split_once('=').map_or(option, |(name, _)| name);
        match name.to_ascii_lowercase().as_str() {
            "restrict"
            | "port-forwarding"
            | "permitlisten"
            | "permitopen"
            | "command"
            | "environment"
            | "tunnel"
            | "pty"
            | "no-pty"
            | "user-rc"
            | "no-user-rc"
            | "agent-forwarding"
            | "no-agent-forwarding"
            | "x11-forwarding"
            | "no-x11-forwarding" => {}
            "no-port-forwarding" => {
                return Err("a key with no-port-forwarding can open no tunnel: remove it".into());
            }
            _ => return Err(format!("the option {name:?} is not supported: remove it")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    const P256: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBOzDNQzBC/fIIIiUcaNHhtK1k5vbaVmi3W1a/2sArajRKkzEcYRbKDKA1vk1/Zw5uEt7WUoi9NP283FEiUfzkZg=";

    fn cluster(text: &str, key: &str) -> Option<String> {
        let keys = AuthorizedKeys::parse(text).unwrap();
        keys.cluster(&PublicKey::from_openssh(key).unwrap()).map(str::to_owned)
    }

    #[test]
    fn the_comment_names_the_cluster() {
        let text = format!(
            "# ours\n\n{ED25519} b1\n  restrict,port-forwarding,command=\"a b,c\" {P256}  B2 at home\r\n"
        );
        assert_eq!(cluster(&text, ED25519).as_deref(), Some("b1"));
        assert_eq!(cluster(&text, P256).as_deref(), Some("b2 at home"));
        assert_eq!(cluster(&format!("{P256} b2"), ED25519), None);
        assert_eq!(cluster("", ED25519), None);
        assert!(cluster(ED25519, ED25519).unwrap().starts_with("SHA256:"));
    }

    #[test]
    fn options_against_what_is_not_granted_change_nothing() {
        let options = "restrict,port-forwarding,permitlisten=\"localhost:8079\",no-pty,PTY,\
                       no-agent-forwarding,no-X11-forwarding,no-user-rc,environment=\"A=b c\"";
        assert_eq!(cluster(&format!("{options} {ED25519} b1"), ED25519).as_deref(), Some("b1"));
    }

    #[test]
    fn refuses_what_it_would_not_honour() {
        for (line, part) in [
            (format!("from=\"10.0.0.1\" {ED25519} b1"), "option \"from\" is not supported"),
            (format!("restrict,expiry-time=\"2030\" {ED25519} b1"), "\"expiry-time\""),
            (format!("cert-authority {ED25519} b1"), "\"cert-authority\""),
            (format!("no-port-forwarding {ED25519} b1"), "can open no tunnel"),
            ("ssh-ed25519 AAAA b1".to_owned(), "the key is broken"),
            ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ b1".to_owned(), "use ssh-ed25519"),
            ("restrict".to_owned(), "this is no key"),
            ("hello world".to_owned(), "option \"hello\""),
        ] {
            let error = AuthorizedKeys::parse(&format!("{P256} b2\n{line}")).unwrap_err();
            assert!(error.starts_with("line 2: ") && error.contains(part), "{error}");
        }
    }

    proptest! {
        #[test]
        fn survives_any_text(text in "([ -~]|ssh-ed25519 |\"|,|\n){0,60}", bytes in ".{0,40}") {
            let _ = AuthorizedKeys::parse(&text);
            let _ = AuthorizedKeys::parse(&bytes);
            let _ = AuthorizedKeys::parse(&format!("{text} {ED25519} {bytes}"));
        }
    }
}
