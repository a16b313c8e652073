//! Every stock client makes a full tunnel into the embedded server.

use std::fs;
use std::process::Command;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::BodyExt;
use serde_json::json;

use super::python;
use crate::harness::{Bridge, Dial, Http2, Origin, Socket, Transport, boxed, filled, full, run};

/// Fails unless what `client` makes carries HTTP/1.1, an upgrade, and gRPC, bytes unchanged.
fn assert_full_tunnel(client: impl Fn(&Dial) -> Command + 'static) {
    let (web, chat) = (web(), Origin::script(echo));
    let h2c = format!("h2c://{}", web.address());
    let bridge = Bridge::new(Transport::SshClient)
        .client(client)
        .route("web", &web)
        .route("chat", &chat)
        .target("grpc", &h2c, &json!({}))
        .start();
    let data = filled("web", 1);
    let mut caller = bridge.call("web");
    caller.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", data.len()));
    caller.send(&data);
    assert!(caller.reply().body == data);

    let mut caller = bridge.call("chat");
    caller.send_get("/", "Connection: Upgrade\r\nUpgrade: echo\r\n");
    assert_eq!(caller.head().status, 101);
    for word in ["ping", "pong"] {
        caller.send(word);
        assert_eq!(caller.read_exact(4), word.as_bytes());
    }
    caller.finish();
    assert_eq!(caller.rest(), b"");

    run(async {
        let mut caller = Http2::connect(bridge.at("grpc")).await;
        let request = Request::post("http://a/pkg.Service/Method")
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers");
        let response = caller.0.send_request(request.body(full(data.clone())).unwrap()).await;
        let body = response.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
        assert!(body.to_bytes() == data);
    });
}

/// Sends each body back, with the trailers of gRPC.
fn web() -> Origin {
    Origin::http(async |request| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let body: Bytes = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(boxed(full(body).with_trailers(async { Some(Ok(trailers)) })))
    })
}

fn echo(mut socket: Socket) {
    if socket.head().is_some() {
        socket.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n",
        );
        for _ in 0..2 {
            let word = socket.read_exact(4);
            socket.send(word);
        }
    }
}

#[test]
fn openssh_with_a_port() {
    assert_full_tunnel(Dial::ssh);
}

#[test]
fn openssh_with_any_words_for_the_forward() {
    for bind in ["localhost:8079", "*:8079", ":8079", "0.0.0.0:8079", "[::1]:8079", "0", "x.y:1"] {
        let web = web();
        let bridge = Bridge::new(Transport::SshClient)
            .client(move |dial| Dial { bind: bind.to_owned(), ..dial.clone() }.ssh())
            .route("web", &web)
            .start();
        bridge.get("web", "/").assert_ok("");
    }
}

#[test]
fn openssh_names_its_target_localhost() {
    let web = web();
    let bridge = Bridge::new(Transport::SshClient)
        .client(|dial| {
            // The entrance has an address of its own; something leads there from localhost.
            let port = forward_localhost(dial.target.parse().unwrap());
            Dial { target: format!("localhost:{port}"), ..dial.clone() }.ssh()
        })
        .route("web", &web)
        .start();
    bridge.get("web", "/").assert_ok("");
}

/// A port of localhost that leads to `target`, as long as the test runs.
fn forward_localhost(target: std::net::SocketAddr) -> u16 {
    let listener = std::net::TcpListener::bind("localhost:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for incoming in listener.incoming() {
            let (incoming, outgoing) =
                (incoming.unwrap(), std::net::TcpStream::connect(target).unwrap());
            for (mut from, mut to) in [
                (incoming.try_clone().unwrap(), outgoing.try_clone().unwrap()),
                (outgoing, incoming),
            ] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    port
}

#[test]
fn dropbears_dbclient() {
    assert_full_tunnel(|dial| {
        let key = dial.keys.join("id_dropbear");
        let mut convert = Command::new("dropbearconvert");
        convert.args(["openssh", "dropbear"]).arg(dial.keys.join("id_ed25519")).arg(&key);
        assert!(convert.output().unwrap().status.success());
        let home = dial.keys.join("home/.ssh");
        fs::create_dir_all(&home).unwrap();
        fs::copy(dial.keys.join("known_hosts"), home.join("known_hosts")).unwrap();
        let mut client = Command::new("dbclient");
        client.env("HOME", dial.keys.join("home")).args(["-N", "-T", "-i"]).arg(key);
        client.arg("-R").arg(format!("{}:{}", dial.bind, dial.target));
        client.arg("-p").arg(dial.server.port().to_string());
        client.arg(format!("{}@{}", dial.user, dial.server.ip()));
        client
    });
}

#[test]
fn puttys_plink() {
    assert_full_tunnel(|dial| {
        let key = dial.keys.join("id.ppk");
        let mut convert = Command::new("puttygen");
        convert.arg(dial.keys.join("id_ed25519")).args(["-O", "private", "-o"]).arg(&key);
        assert!(convert.status().unwrap().success());
        let host = dial.keys.parent().unwrap().join("send/ssh_host_ed25519_key.pub");
        let shown = Command::new("ssh-keygen").args(["-l", "-f"]).arg(host).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        let mut client = Command::new("plink");
        client.env("HOME", &dial.keys).args(["-batch", "-N", "-i"]).arg(key);
        client.arg("-hostkey").arg(shown.split(' ').nth(1).unwrap());
        client.arg("-R").arg(format!("{}:{}", dial.bind, dial.target));
        client.arg("-P").arg(dial.server.port().to_string());
        client.arg(format!("{}@{}", dial.user, dial.server.ip()));
        client
    });
}

/// What the scripts are told.
pub fn python(text: &str, dial: &Dial) -> Command {
    let (server, (to, to_port)) = (dial.server, dial.target.rsplit_once(':').unwrap());
    let file = |name: &str| dial.keys.join(name).display().to_string();
    python::script(
        text,
        &[
            &server.ip().to_string(),
            &server.port().to_string(),
            &file("id_ed25519"),
            &file("known_hosts"),
            to,
            to_port,
        ],
    )
}

#[test]
fn asyncssh() {
    assert_full_tunnel(|dial| {
        python(
            "
import asyncio, asyncssh, sys
host, port, key, known, to, to_port = sys.argv[1:]
async def main():
    async with asyncssh.connect(host, int(port), username='tunnel', client_keys=[key],
                                known_hosts=known, config=None, agent_path=None) as client:
        await client.forward_remote_port('', 8079, to, int(to_port))
        await client.wait_closed()
asyncio.run(main())
",
            dial,
        )
    });
}

#[test]
fn paramiko() {
    assert_full_tunnel(|dial| {
        python(
            "
import paramiko, socket, sys, threading
host, port, key, known, to, to_port = sys.argv[1:]
client = paramiko.SSHClient()
client.load_host_keys(known)
client.get_host_keys().add(f'[{host}]:{port}', 'ssh-ed25519',
                           client.get_host_keys().lookup(host)['ssh-ed25519'])
client.connect(host, int(port), 'tunnel', key_filename=key, allow_agent=False,
               look_for_keys=False)
transport = client.get_transport()
transport.request_port_forward('', 8079)
def pump(read, write, end):
    while data := read(65536):
        write(data)
    end()
while True:
    channel = transport.accept()
    if channel is None:
        break
    target = socket.create_connection((to, int(to_port)))
    pairs = [(channel.recv, target.sendall, lambda: target.shutdown(socket.SHUT_WR)),
             (target.recv, channel.sendall, channel.close)]
    for pair in pairs:
        threading.Thread(target=pump, args=pair, daemon=True).start()
",
            dial,
        )
    });
}
