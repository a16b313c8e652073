//! Attacks that are slow: `slowhttptest` holds 1000 connections to one mapping, and the other does
//! not notice.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::ends::Ends;
use crate::harness::caller::get;
use crate::harness::wait::until;
use crate::target::target_by_path;

/// How many connections each attack opens.
const CONNECTIONS: usize = 1000;

#[test]
fn slow_headers() {
    attack("/", &["-H", "-i", "2"]);
}

/// The target waits for bodies that never end.
#[test]
fn slow_bodies() {
    attack("/reads", &["-B", "-i", "2", "-s", "8192", "-t", "POST"]);
}

#[test]
fn overlapping_ranges() {
    attack("/large", &["-R", "-t", "GET", "-a", "10", "-b", "3000"]);
}

/// Each asks for half a mebibyte and reads 5 bytes a second, through a window of at most 512.
#[test]
fn slow_reads() {
    attack("/large", &["-X", "-n", "1", "-z", "5", "-w", "256", "-y", "512"]);
}

/// Attacks a path of the first of two mappings for 10 seconds, calls the other meanwhile, and waits
/// until both processes hold no more than before.
fn attack(path: &str, how: &[&str]) {
    let target = target_by_path(|stream, path| match path {
        "/reads" => _ = stream.get_ref().take(8192).read_to_end(&mut Vec::new()),
        "/large" => {
            let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 524288\r\n\r\n";
            // The bridge hangs up when the caller has.
            let _ = stream.get_ref().write_all(&[head, &vec![b'x'; 1 << 19][..]].concat());
            let _ = stream.get_ref().shutdown(std::net::Shutdown::Both);
        }
        _ => stream.get_ref().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap(),
    });
    let ends = Ends::to(&[target, target].map(|target| format!("http://{target}")));
    let (send, receive) = ends.start();
    let other = ends.mapping(1);
    get(other, "/").assert_ok("ok");
    let before = (send.descriptors(), receive.descriptors());

    let mut attacker = Attacker::start(how, &format!("http://{}{path}", ends.mapped()));
    let (mut answered, mut slowest, mut most) = (0, Duration::ZERO, 0);
    while attacker.is_running() {
        let asked = Instant::now();
        get(other, "/").assert_ok("ok");
        slowest = slowest.max(asked.elapsed());
        answered += 1;
        most = most.max(connections(&ends));
    }
    println!("{how:?}: {most} connections; {answered} answers, slowest {slowest:.1?}");
    // Requests that are answered at once hold no connection for long.
    let had = most.max(metric(&ends, "isthmus_requests_total{mapping=\"8050\""));
    assert!(had > CONNECTIONS / 4, "the attack had {had} connections");
    assert!(answered > 20, "{answered} answers in ten seconds");

    until(&format!("as few descriptors as before: {before:?}"), || {
        let (send, receive) = (send.descriptors(), receive.descriptors());
        // Connections to targets that were free before have ended meanwhile.
        (connections(&ends) == 0 && send <= before.0 && receive <= before.1).then_some(())
    });
}

fn connections(ends: &Ends) -> usize {
    metric(ends, "isthmus_connections ")
}

/// The sum of the lines that begin so.
fn metric(ends: &Ends, begin: &str) -> usize {
    let page = ends.send_admin("/metrics").unwrap().text();
    let lines = page.lines().filter(|line| line.starts_with(begin));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

/// A running `slowhttptest`.
struct Attacker(Child);

impl Attacker {
    fn start(how: &[&str], url: &str) -> Self {
        let count = CONNECTIONS.to_string();
        let child = Command::new("slowhttptest")
            .args(["-c", &count, "-r", "500", "-l", "10", "-p", "5", "-v", "0", "-u", url])
            .args(how)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("slowhttptest is missing: scripts/test installs it");
        Self(child)
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
