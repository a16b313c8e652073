//! Whom each end trusts, and what it says when it does not.

use std::fs;
use std::path::Path;
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tunnel_common::drain::Drain;
use tunnel_common::tunnel::ssh::Terms;
use tunnel_common::tunnel::{Acceptor, Connector};
use tunnel_receive::tunnel::ssh::SshConnector;

use super::pair::{LIMIT, Server, connector, generate};
use crate::harness::{Sshd, run};

#[tokio::test(flavor = "local")]
async fn carries_bytes_of_a_proven_cluster() {
    let mut server = Server::start().await;
    let (mut client, (mut accepted, peer)) = server.tunnel().await;
    assert_eq!(peer.names, ["b1"]);
    assert!(peer.to_string().starts_with("b1 at 127.0.0.1:"), "{peer}");
    client.write_all(b"hello").await.unwrap();
    let mut read = [0; 5];
    accepted.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"hello");
    drop((client, accepted));
    assert_eq!(server.drain.finish(std::time::Duration::from_secs(5)).await, 0);
}

#[tokio::test(flavor = "local")]
async fn an_ecdsa_key_is_as_good() {
    let keys = generate();
    let (receive, send) = (keys.path().join("keys/receive"), keys.path().join("keys/send"));
    fs::remove_file(receive.join("id_ed25519")).unwrap();
    keygen(&["-t", "ecdsa", "-b", "256", "-C", "b7"], &receive.join("id_ecdsa"));
    fs::copy(receive.join("id_ecdsa.pub"), send.join("authorized_keys")).unwrap();
    let mut server = Server::with_keys(keys).await;
    let (_, (_, peer)) = server.tunnel().await;
    assert_eq!(peer.names, ["b7"]);
}

#[tokio::test(flavor = "local")]
async fn refuses_keys_that_were_not_made_together() {
    let mut server = Server::start().await;
    let foreign = generate();
    let foreign = foreign.path().join("keys/receive");
    let known_hosts = foreign.join("known_hosts");

    let error = server.refusal("tunnel", &foreign).await;
    let prefix = format!("ssh://tunnel@{}: the server's host key is not", server.address());
    assert!(error.starts_with(&prefix), "{error}");
    assert!(error.contains("line 3 has another one for this host. It showed SHA256:"), "{error}");

    // The line that it names makes it trust the server.
    let line = error.rsplit_once("put there: ").unwrap().1.to_owned();
    fs::write(&known_hosts, line + "\n").unwrap();
    let error = server.refusal("tunnel", &foreign).await;
    assert!(error.contains("the server refused the key") && error.contains("SHA256:"), "{error}");
    assert!(error.contains("id_ed25519.pub to the authorized_keys there"), "{error}");

    fs::write(&known_hosts, "").unwrap();
    let error = server.refusal("tunnel", &foreign).await;
    assert!(error.contains("known_hosts: it has none for this host"), "{error}");

    let error = server.refusal("root", &server.client_keys()).await;
    assert!(error.contains("of the user root"), "{error}");
}

#[tokio::test(flavor = "local")]
async fn a_new_key_may_come_and_go() {
    let mut server = Server::start().await;
    let authorized = server.client_keys().join("../send/authorized_keys");
    let old = fs::read_to_string(&authorized).unwrap();
    let (mut client, (mut accepted, _)) = server.tunnel().await;

    fs::write(&authorized, "broken\n").unwrap();
    let watched = tokio::time::Instant::now() + std::time::Duration::from_millis(1500);
    while tokio::time::Instant::now() < watched {
        server.tunnel().await;
    }
    fs::write(&authorized, "# nobody\n").unwrap();
    let keys = server.client_keys();
    let connector = server.connector("tunnel", &keys);
    let refused = async {
        loop {
            if let Err(error) = connector.connect().await {
                return error.to_string();
            }
        }
    };
    let accept = async {
        loop {
            let (mut channel, _) = server.acceptor.accept().await;
            channel.write_all(&[0]).await.unwrap();
        }
    };
    let error = tokio::select! {
        refused = timeout(LIMIT, refused) => refused.unwrap(),
        () = accept => unreachable!(),
    };
    assert!(error.contains("refused the key"), "{error}");

    client.write_all(b"still here").await.unwrap();
    let mut read = [0; 10];
    timeout(LIMIT, accepted.read_exact(&mut read)).await.unwrap().unwrap();
    fs::write(authorized, old).unwrap();
}

#[tokio::test(flavor = "local")]
async fn failures_say_what_is_wrong() {
    let keys = generate();
    let keys = keys.path().join("keys/receive");
    let drain = Drain::new();
    let failure = async |url: &str| {
        let connector = connector(url, &keys, &drain);
        timeout(LIMIT, connector.connect()).await.unwrap().err().unwrap().to_string()
    };
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ssh://{}", unused.local_addr().unwrap());
    drop(unused);
    let error = failure(&url).await;
    assert!(error.starts_with(&format!("{url}: no connection to 127.0.0.1:")), "{error}");

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ssh://{}", plain.local_addr().unwrap());
    let answer = async {
        let (mut tcp, _) = plain.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    };
    let (error, ()) = tokio::join!(failure(&url), answer);
    assert!(error.contains("is it an SSH server?"), "{error}");
    // The kernel answers for the listener, and then nobody does.
    assert!(failure(&url).await.ends_with("no answer within 5s"));
}

#[test]
fn bad_key_files_are_told_with_their_line() {
    let keys = generate();
    let receive = keys.path().join("keys/receive");
    let problem = |file: &str, text: &str| {
        let path = receive.join(file);
        let before = fs::read(&path).unwrap();
        fs::write(&path, text).unwrap();
        let url = "ssh://a:1".parse().unwrap();
        let error = SshConnector::new(url, &receive, Terms::default(), &Drain::new()).err();
        fs::write(path, before).unwrap();
        error.unwrap().to_string()
    };
    let error = problem("known_hosts", "\nnonsense\n");
    assert!(
        error.ends_with("known_hosts: line 2: this is no host key: write \"HOST TYPE BASE64\"")
    );
    let error = problem("id_ed25519", "no");
    assert!(error.contains("id_ed25519: this is no private key in OpenSSH's format"), "{error}");
    let locked = keys.path().join("locked");
    let mut make = Command::new("ssh-keygen");
    make.args(["-q", "-t", "ed25519", "-N", "secret", "-f"]).arg(&locked);
    assert!(make.status().unwrap().success());
    let error = problem("id_ed25519", &fs::read_to_string(locked).unwrap());
    assert!(error.contains("the key has a passphrase"), "{error}");
}

#[test]
fn openssh_gets_in_with_the_right_key_only() {
    run(async {
        let mut server = Server::start().await;
        let (keys, address) = (server.client_keys(), server.address());
        let ssh = move |user: &str, options: &[&str]| {
            let mut ssh = Command::new("ssh");
            ssh.args(["-F", "none", "-N", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
            ssh.arg("-o").arg(format!("UserKnownHostsFile={}", keys.join("known_hosts").display()));
            ssh.args(["-o", "ExitOnForwardFailure=yes", "-R", "1:localhost:1"]).args(options);
            ssh.arg("-i").arg(keys.join("id_ed25519")).arg("-p").arg(address.port().to_string());
            let output = ssh.arg(format!("{user}@127.0.0.1")).output().unwrap();
            String::from_utf8(output.stderr).unwrap()
        };
        let tries = tokio::task::spawn_blocking(move || {
            for (user, options) in [
                ("root", &[][..]),
                ("tunnel", &["-o", "PubkeyAuthentication=no"]),
                ("tunnel", &["-o", "PreferredAuthentications=password,keyboard-interactive"]),
                ("tunnel", &["-o", "IdentityFile=none", "-o", "PubkeyAuthentication=no"]),
            ] {
                let said = ssh(user, options);
                assert!(said.contains("Permission denied (publickey)"), "{options:?}: {said}");
            }
            // What is not authenticated is not spoken.
            for cipher in ["aes128-ctr", "aes256-cbc"] {
                let said = ssh("tunnel", &["-c", cipher]);
                assert!(said.contains("no matching cipher found"), "{said}");
            }
        });
        tokio::select! {
            _ = server.acceptor.accept() => panic!("it was accepted"),
            tried = tries => tried.unwrap(),
        }
    });
}

fn keygen(args: &[&str], file: &Path) {
    let mut make = Command::new("ssh-keygen");
    make.args(["-q", "-N", ""]).args(args).arg("-f").arg(file);
    assert!(make.status().unwrap().success());
}

/// A stock `sshd` whose port somebody holds already, or that does not forward at all.
#[tokio::test(flavor = "local")]
async fn says_what_to_set_on_an_sshd() {
    let keys = generate();
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let _sshd = Sshd::start(address, &keys.path().join("keys/send"), "PermitListen localhost:1\n");
    let (user, drain) = (Sshd::user(), Drain::new());
    let url = format!("ssh://{user}@{address}?forward=localhost:8079");
    let connector = connector(&url, &keys.path().join("keys/receive"), &drain);
    let error = timeout(LIMIT, connector.connect()).await.unwrap().err().unwrap().to_string();
    for part in ["refused to forward localhost:8079", "ClientAliveInterval 1", "PermitListen"] {
        assert!(error.contains(part), "{error}");
    }
}
