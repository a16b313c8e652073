//! Two clusters: B can dial A through one wire, and A cannot dial B.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread::spawn;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::caller::get;
use crate::harness::reply::Reply;
use crate::harness::wait::until;
use crate::load::answer;
use crate::namespace::Namespace;
use crate::process::{Process, command};
use crate::relay::Relay;

/// Where callers in A find any `tunnel-send` that is ready, as behind a Service.
pub const SERVICE: &str = "10.77.1.2:8050";

const TARGET: &str = "10.77.2.1:8080";
const WIRE: &str = "10.77.2.254:9000";

/// How the two are joined.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tunnel {
    Grpc,
    Ssh,
}

/// The networks, the target in B, and what the processes need.
pub struct Clusters {
    pub a: Namespace,
    pub b: Namespace,
    _between: Namespace,
    /// What receives dial.
    pub wire: Relay,
    /// What callers dial.
    pub service: Relay,
    tunnel: Tunnel,
    folder: TempDir,
}

impl Clusters {
    /// With places for as many `tunnel-send` as a test likes; the wire leads to the first `sends`.
    pub fn new(tunnel: Tunnel, sends: usize) -> Self {
        let (a, b, between) = (Namespace::new("a"), Namespace::new("b"), Namespace::new("between"));
        a.join(&between, "10.77.1.1", "10.77.1.254", "ab");
        b.join(&between, "10.77.2.1", "10.77.2.254", "bb");
        a.add_address("10.77.1.2", "ab0");
        for number in 0..8 {
            a.add_address(&send_host(number), "ab0");
        }
        b.run(serve_target);
        let ends: Vec<_> = (0..sends).map(|number| tunnel_address(tunnel, number)).collect();
        let wire = between.run(move || Relay::listen(WIRE.parse().unwrap(), &ends));
        let service = a.run(|| Relay::listen(SERVICE.parse().unwrap(), &[]));
        let folder = tempfile::tempdir().unwrap();
        let names = ["10.77.2.254".to_owned()];
        for cluster in ["b", "c"] {
            tunnel_common::keys::generate(&folder.path().join("keys"), &names, cluster).unwrap();
        }
        let clusters = Self { a, b, _between: between, wire, service, tunnel, folder };
        clusters.map(&[("8050", r#""name": "mapped""#)]);
        clusters.set_siblings(&[]);
        clusters
    }

    /// Maps ports, each with further fields, to the target.
    pub fn map(&self, mappings: &[(&str, &str)]) {
        self.map_to(TARGET, mappings);
    }

    pub fn map_to(&self, target: &str, mappings: &[(&str, &str)]) {
        let entries: Vec<_> = mappings
            .iter()
            .map(|(port, fields)| {
                format!(r#"{{ "port": "{port}", "remoteIP": "http://{target}", {fields} }}"#)
            })
            .collect();
        let text = format!(r#"{{ "data": [ {} ] }}"#, entries.join(", "));
        std::fs::write(self.config(), text).unwrap();
    }

    /// What the first `tunnel-send` answers on this port.
    pub fn get(&self, port: u16) -> String {
        let address = SocketAddr::new(mapping_address(0).ip(), port);
        self.a.run(move || get(address, "/").text())
    }

    /// Says which `tunnel-send` there are, as a headless Service does.
    pub fn set_siblings(&self, numbers: &[usize]) {
        let hosts: Vec<_> = numbers.iter().map(|number| send_host(*number)).collect();
        self.a.set_host("siblings", &hosts);
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config.json")
    }

    /// Starts a `tunnel-send` and waits until it takes requests.
    pub fn send(&self, number: usize, flags: &[&str]) -> End<'_> {
        let mut inner = command("tunnel-send");
        inner
            .arg(format!("--config={}", self.config().display()))
            .arg(format!("--keys={}", self.folder.path().join("keys/send").display()))
            .arg(format!("--tunnel=grpc://{}:9000", send_host(number)))
            .arg(format!("--bind={}", send_host(number)))
            .arg(format!("--admin={}:9001", send_host(number)))
            .args(flags);
        if self.tunnel == Tunnel::Ssh {
            inner.arg(format!("--tunnel=ssh://{}:2222", send_host(number)));
        }
        let admin = format!("{}:9001", send_host(number)).parse().unwrap();
        let process = Process::start(self.a.command(&inner));
        let end = End { process, network: &self.a, admin };
        end.until_page("tunnel-send", "/readyz", |page| page.status == 200);
        end
    }

    /// Starts a `tunnel-receive` of cluster b and waits until it has a tunnel.
    pub fn receive(&self, number: usize, flags: &[&str]) -> End<'_> {
        self.ready_receive("receive", number, flags)
    }

    /// The same of cluster b or c.
    pub fn receive_of(&self, cluster: &str, number: usize) -> End<'_> {
        self.ready_receive(if cluster == "b" { "receive" } else { "receive-c" }, number, &[])
    }

    fn ready_receive(&self, keys: &str, number: usize, flags: &[&str]) -> End<'_> {
        let url = match self.tunnel {
            Tunnel::Grpc => format!("grpc://{WIRE}"),
            Tunnel::Ssh => format!("ssh://tunnel@{WIRE}"),
        };
        let end = self.start_receive(&url, keys, number, flags);
        end.until_page("tunnel-receive", "/readyz", |page| page.status == 200);
        end
    }

    /// Starts a `tunnel-receive` of cluster b that dials `url`.
    pub fn receive_to(&self, url: &str) -> End<'_> {
        self.start_receive(url, "receive", 0, &[])
    }

    fn start_receive(&self, url: &str, keys: &str, number: usize, flags: &[&str]) -> End<'_> {
        let mut inner = command("tunnel-receive");
        let admin: SocketAddr = format!("127.0.0.1:{}", 9100 + number).parse().unwrap();
        inner
            .arg(format!("--config={}", self.config().display()))
            .arg(format!("--keys={}", self.folder.path().join("keys").join(keys).display()))
            .arg(format!("--tunnel={url}"))
            .arg(format!("--admin={admin}"))
            .args(flags);
        End { process: Process::start(self.b.command(&inner)), network: &self.b, admin }
    }
}

/// A process of either kind.
pub struct End<'a> {
    pub process: Process,
    network: &'a Namespace,
    admin: SocketAddr,
}

impl End<'_> {
    /// Waits for a page of its admin address.
    pub fn until_page(&self, what: &str, path: &'static str, good: impl Fn(&Reply) -> bool) {
        let admin = self.admin;
        until(what, || {
            let page = self.network.run(move || {
                TcpStream::connect_timeout(&admin, Duration::from_secs(1)).ok()?;
                Some(get(admin, path))
            });
            page.filter(&good).map(|_| ())
        });
    }

    /// Waits until one of its metrics has this value.
    pub fn until_metric(&self, name: &str, value: f64) {
        self.until_page(&format!("{name} {value}"), "/metrics", |page| {
            metric(&page.text(), name) == Some(value)
        });
    }

    pub fn metric(&self, name: &str) -> f64 {
        let admin = self.admin;
        let page = self.network.run(move || get(admin, "/metrics"));
        metric(&page.text(), name).unwrap_or_default()
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(self) {
        self.process.signal("TERM");
        self.assert_ends();
    }

    /// Waits until it has ended in good order.
    pub fn assert_ends(self) {
        let ended = self.process.ended();
        assert!(ended.status.success(), "{:?}", ended.status);
    }
}

/// The sum of a metric over its labels.
fn metric(text: &str, name: &str) -> Option<f64> {
    let lines = text.lines().filter(|line| line.split([' ', '{']).next() == Some(name));
    let values = lines.map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.reduce(|sum, value| Some(sum? + value?))?
}

pub fn send_host(number: usize) -> String {
    format!("10.77.1.{}", 11 + number)
}

/// Where the wire leads to.
pub fn tunnel_address(tunnel: Tunnel, number: usize) -> SocketAddr {
    let port = if tunnel == Tunnel::Grpc { 9000 } else { 2222 };
    format!("{}:{port}", send_host(number)).parse().unwrap()
}

/// Where the callers' balancer leads to.
pub fn mapping_address(number: usize) -> SocketAddr {
    format!("{}:8050", send_host(number)).parse().unwrap()
}

/// Answers with what was sent, or in parts.
fn serve_target() {
    let listener = TcpListener::bind(TARGET).unwrap();
    spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            spawn(move || serve_connection(stream));
        }
    });
}

fn serve_connection(stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let begun = head.len();
            if stream.read_line(&mut head).ok()? == 0 {
                return None;
            }
            let line = head[begun..].to_ascii_lowercase();
            length =
                line.strip_prefix("content-length:").map_or(length, |v| v.trim().parse().unwrap());
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        let mut words = head.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let to = stream.get_mut();
        if path == "/stream" {
            to.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok()?;
            for _ in 0..20 {
                to.write_all(b"4\r\npart\r\n").ok()?;
                std::thread::park_timeout(Duration::from_millis(25));
            }
            to.write_all(b"0\r\n\r\n").ok()?;
        } else {
            let body = answer(&method, &body);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            to.write_all(&[head.as_bytes(), &body].concat()).ok()?;
        }
    }
}
