//! The server before anybody has proved anything: whatever comes, it ends in order.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::LocalRuntime;
use tokio::sync::watch;
use tokio::time::timeout;
use tunnel_common::keys;
use tunnel_common::tunnel::ssh::{Link, SshServer, Terms, Wire};

use super::visitor::{Progress, Visitor};

/// Sends `bytes` and no more. Fails if the server panics, lets the client in, or does not end.
fn feed(server: &SshServer, bytes: &[u8]) {
    let (config, authorized) = server.current();
    let runtime = LocalRuntime::new().unwrap();
    runtime.block_on(async {
        let (mut client, ours) = tokio::io::duplex(64 * 1024);
        let (sender, progress) = watch::channel(Progress::default());
        let address = ([127, 0, 0, 1], 1).into();
        let visitor = Visitor::new(address, Arc::clone(&authorized), "keys".as_ref(), sender);
        let link = Link::new();
        let (_cut, wire) = (link.cut_on_drop(), Wire::of_server(ours, link.clone()));
        let serve = async {
            let session = russh::server::run_stream(config, wire, visitor).await?;
            session.await
        };
        let send = async {
            // It may have hung up already.
            let _ = client.write_all(bytes).await;
            let _ = client.shutdown().await;
            let _ = client.read_to_end(&mut Vec::new()).await;
        };
        let both = async { tokio::join!(serve, send) };
        let (served, ()) = timeout(Duration::from_secs(10), both).await.expect("no end");
        assert!(!matches!(served, Err(russh::Error::Join(_))), "it panicked");
        assert!(progress.borrow().names.is_empty() && progress.borrow().forward.is_none());
    });
}

fn server() -> SshServer {
    let folder = tempfile::tempdir().unwrap();
    keys::generate(&folder.path().join("keys"), &["a.example".to_owned()], "b").unwrap();
    SshServer::new(&folder.path().join("keys/send"), Terms::default()).unwrap()
}

fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 16 - (payload.len() + 5) % 8;
    let mut packet = u32::try_from(payload.len() + 1 + padding).unwrap().to_be_bytes().to_vec();
    packet.push(u8::try_from(padding).unwrap());
    packet.extend(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}

/// What an honest client begins with.
fn kexinit() -> Vec<u8> {
    let mut payload = [&[20][..], &[7; 16]].concat();
    let algorithms = [
        "mlkem768x25519-sha256,curve25519-sha256,ext-info-c,kex-strict-c-v00@openssh.com",
        "ssh-ed25519",
        "aes256-gcm@openssh.com,chacha20-poly1305@openssh.com",
        "aes256-gcm@openssh.com",
        "hmac-sha2-256-etm@openssh.com",
        "hmac-sha2-256-etm@openssh.com",
        "none",
        "none",
        "",
        "",
    ];
    for list in algorithms {
        payload.extend(u32::try_from(list.len()).unwrap().to_be_bytes());
        payload.extend(list.as_bytes());
    }
    payload.extend([0; 5]);
    payload
}

/// A payload of any kind, kinds of the beginning being likelier.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![select(vec![1, 2, 4, 5, 20, 21, 30, 34, 50, 80, 90]), any::<u8>()];
    let share = prop_oneof![
        vec(any::<u8>(), 0..1300),
        // An exchange value of the right length.
        any::<u8>().prop_map(|byte| [&[0, 0, 4, 192][..], &[byte; 1216]].concat()),
        any::<u8>().prop_map(|byte| [&[0, 0, 0, 32][..], &[byte; 32]].concat()),
    ];
    (kind, share).prop_map(|(kind, rest)| [vec![kind], rest].concat())
}

#[test]
fn an_honest_beginning_gets_as_far_as_its_keys() {
    feed(&server(), &[b"SSH-2.0-x\r\n", &packet(&kexinit())[..]].concat());
}

#[test]
fn survives_any_beginning() {
    let server = server();
    let noise = vec(any::<u8>(), 0..3000);
    let changed = (vec((any::<Index>(), any::<u8>()), 0..8)).prop_map(|changes| {
        let mut payload = kexinit();
        for (index, byte) in changes {
            *index.get_mut(&mut payload) = byte;
        }
        packet(&payload)
    });
    let packets = vec(payload().prop_map(|payload| packet(&payload)), 0..6);
    let id = select(vec!["SSH-2.0-x\r\n", "SSH-2.0-x\n", "SSH-1.99-\r\n", "", "x\r\n"]);
    let beginning = (id, prop_oneof![changed, Just(packet(&kexinit())), noise.clone()], packets);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(512));
    let run = runner.run(&(beginning, noise), |((id, first, packets), rest)| {
        feed(&server, &[id.as_bytes(), &first, &packets.concat(), &rest].concat());
        Ok(())
    });
    run.unwrap();
}
