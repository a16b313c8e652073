//! Peers that are up to no good cost others nothing.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tunnel_common::tunnel::Acceptor;

use super::clients::python;
use super::pair::{LIMIT, Server};
use crate::harness::{Bridge, Origin, Program, Transport, until};

#[tokio::test(flavor = "local")]
async fn a_thousand_unauthenticated_connections_hold_up_nobody() {
    let mut server = Server::start().await;
    let address = server.address();
    let connect = async {
        let mut bad = Vec::new();
        for number in 0..1000 {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            let begin: &[u8] = match number % 4 {
                0 => b"",
                1 => b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                2 => b"SSH-2.0-x\r\n",
                // The longest packet that there can be, and nothing of it.
                _ => b"SSH-2.0-x\r\n\0\x04\0\0",
            };
            tcp.write_all(begin).await.unwrap();
            bad.push(tcp);
        }
        bad
    };
    let _bad = tokio::select! {
        _ = server.acceptor.accept() => panic!("it was accepted"),
        bad = timeout(LIMIT, connect) => bad.unwrap(),
    };
    timeout(Duration::from_secs(3), server.tunnel()).await.unwrap();
    assert!(server.drain.tasks() < 300, "{} tasks", server.drain.tasks());
}

#[tokio::test(flavor = "local")]
async fn a_client_that_stops_half_way_is_cut() {
    let mut server = Server::start().await;
    for begin in [&b""[..], b"SSH-2.0-x\r\n", b"SSH-2.0-x\r\n\xff\xff\xff\xff", b"SSH-2.0-x\r\n\0"]
    {
        let mut tcp = TcpStream::connect(server.address()).await.unwrap();
        tcp.write_all(begin).await.unwrap();
        let mut said = Vec::new();
        tokio::select! {
            _ = server.acceptor.accept() => panic!("it was accepted"),
            // A reset is an end, too.
            end = timeout(Duration::from_secs(8), tcp.read_to_end(&mut said)) => drop(end.unwrap()),
        }
    }
}

#[tokio::test(flavor = "local")]
async fn a_client_that_says_its_last_is_cut() {
    let mut server = Server::start().await;
    let mut tcp = TcpStream::connect(server.address()).await.unwrap();
    tcp.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    tcp.shutdown().await.unwrap();
    let mut said = Vec::new();
    tokio::select! {
        _ = server.acceptor.accept() => panic!("it was accepted"),
        end = timeout(Duration::from_secs(2), tcp.read_to_end(&mut said)) => drop(end.unwrap()),
    }
}

/// An authenticated client that changes keys, opens channels and asks questions as fast as it can,
/// and sends more than the window allows. Of each it makes a file with its name, once it has done it.
const ABUSE: &str = "
import os, paramiko, sys, threading, time
host, port, key, known, to, to_port = sys.argv[1:]
def connect():
    transport = paramiko.Transport((host, int(port)))
    transport.connect(username='tunnel', pkey=paramiko.Ed25519Key.from_private_key_file(key))
    return transport
def until_cut(attempt):
    transport = connect()
    done = 0
    try:
        while transport.is_active():
            attempt(transport)
            done += 1
            if done == 20:
                tell(attempt)
    except Exception:
        pass
    if done or attempt is window:
        tell(attempt)
def tell(attempt):
    open(os.path.join(os.path.dirname(key), attempt.__name__), 'w')
def rekey(transport):
    transport.renegotiate_keys()
def channels(transport):
    try:
        transport.open_session(timeout=5)
    except paramiko.ChannelException:
        pass
def questions(transport):
    transport.global_request('x@example.com', wait=False)
def window(transport):
    transport.request_port_forward('', 8079)
    channel = transport.accept(5)
    channel.out_window_size = 1 << 40
    while True:
        channel.send(b'x' * 30000)
for attempt in [rekey, channels, questions, window]:
    threading.Thread(target=until_cut, args=[attempt], daemon=True).start()
time.sleep(60)
";

#[test]
fn an_abusive_client_costs_others_nothing() {
    let origin = Origin::saying("good");
    let (tell, dial) = std::sync::mpsc::sync_channel(1);
    let bridge = Bridge::new(Transport::SshClient)
        .client(move |dial| {
            tell.send(dial.clone()).unwrap();
            dial.ssh()
        })
        .route("good", &origin)
        .start();
    let dial = dial.recv().unwrap();
    let _abuse = Program::start(&mut python(ABUSE, &dial));
    let is_over = || {
        ["rekey", "channels", "questions", "window"].map(|name| dial.keys.join(name).exists())
            == [true; 4]
    };
    until("answers beside the abuse", || {
        bridge.get("good", "/").assert_ok("good");
        let requests = bridge.sends[0].metric("isthmus_requests_total");
        (is_over() && requests >= 400).then_some(())
    });
}
