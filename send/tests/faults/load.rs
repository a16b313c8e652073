//! Callers: a steady rate of requests of several kinds, every answer checked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use crate::namespace::Namespace;

/// Callers, and how often each calls: 200 requests a second together.
const CALLERS: u64 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// What the answer to a request with this body is.
pub fn answer(method: &str, body: &[u8]) -> Vec<u8> {
    [method.as_bytes(), b":", body].concat()
}

/// What one request is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Get,
    Put,
    Post,
    /// An answer in twenty parts, over half a second.
    Stream,
}

impl Kind {
    fn of(number: u64) -> Self {
        match number % 10 {
            0..5 => Self::Get,
            5 | 6 => Self::Put,
            7 | 8 => Self::Post,
            _ => Self::Stream,
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Get | Self::Stream => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
        }
    }

    fn path(self) -> &'static str {
        if self == Self::Stream { "/stream" } else { "/" }
    }
}

/// How it went.
#[derive(Debug, Default)]
pub struct Outcome {
    pub answered: u64,
    /// GET and PUT that failed before an answer had begun, which never need to.
    pub failed: Vec<String>,
    /// POST that failed, and answers that broke off.
    pub broken_off: Vec<String>,
    /// An answer with another content than it should have.
    pub wrong: Vec<String>,
    /// The slowest answer's beginning, streams apart.
    pub slowest: Duration,
}

/// Callers at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Outcome>>,
}

impl Load {
    /// Calls `address` from inside `namespace` until it is ended.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let callers = (0..CALLERS).map(|number| {
            let stop = Arc::clone(&stop);
            namespace
                .spawn(move || Caller { address, outcome: Outcome::default() }.run(number, &stop))
        });
        Self { callers: callers.collect(), stop }
    }

    pub fn end(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Outcome::default();
        for caller in self.callers {
            let one = caller.join().unwrap();
            sum.answered += one.answered;
            sum.failed.extend(one.failed);
            sum.broken_off.extend(one.broken_off);
            sum.wrong.extend(one.wrong);
            sum.slowest = sum.slowest.max(one.slowest);
        }
        println!(
            "{} answered, {} failed, {} broken off, the slowest after {:?}",
            sum.answered,
            sum.failed.len(),
            sum.broken_off.len(),
            sum.slowest
        );
        assert!(sum.answered > 0, "nothing was answered");
        assert!(sum.wrong.is_empty(), "{:?}", sum.wrong);
        sum
    }
}

impl Outcome {
    /// Fails unless every request was answered whole.
    pub fn assert_all_answered(&self) {
        assert!(self.failed.is_empty(), "{:?}", self.failed);
        assert!(self.broken_off.is_empty(), "{:?}", self.broken_off);
    }
}

struct Caller {
    address: SocketAddr,
    outcome: Outcome,
}

/// Why a request had no whole answer.
enum Failure {
    /// None had begun.
    Unanswered(String),
    BrokenOff(String),
}

impl Caller {
    fn run(mut self, number: u64, stop: &AtomicBool) -> Outcome {
        let mut due = Instant::now() + PAUSE.mul_f64(number as f64 / CALLERS as f64);
        for count in number.. {
            park_timeout(due.saturating_duration_since(Instant::now()));
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if Instant::now() < due {
                continue;
            }
            due += PAUSE;
            self.call(Kind::of(count), &format!("{number}-{count}"));
        }
        self.outcome
    }

    fn call(&mut self, kind: Kind, body: &str) {
        let begun = Instant::now();
        let outcome = &mut self.outcome;
        match exchange(self.address, kind, body) {
            Ok((found, first)) => {
                let sent = if kind.method() == "GET" { "" } else { body };
                let expected = match kind {
                    Kind::Stream => b"part".repeat(20),
                    _ => answer(kind.method(), sent.as_bytes()),
                };
                outcome.answered += 1;
                if kind != Kind::Stream {
                    outcome.slowest = outcome.slowest.max(first - begun);
                }
                if found != expected {
                    outcome.wrong.push(format!("{kind:?} {body}: {}", found.escape_ascii()));
                }
            }
            Err(Failure::Unanswered(why)) if kind != Kind::Post => {
                outcome.failed.push(format!("{kind:?} after {:?}: {why}", begun.elapsed()));
            }
            Err(Failure::Unanswered(why) | Failure::BrokenOff(why)) => {
                outcome.broken_off.push(format!("{kind:?} after {:?}: {why}", begun.elapsed()));
            }
        }
    }
}

/// One request on a connection of its own. Returns the body and when the answer began.
fn exchange(address: SocketAddr, kind: Kind, body: &str) -> Result<(Vec<u8>, Instant), Failure> {
    let unanswered = |error: std::io::Error| Failure::Unanswered(error.to_string());
    let mut stream = TcpStream::connect(address).map_err(unanswered)?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (method, path) = (kind.method(), kind.path());
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    match method {
        "GET" => request += "\r\n",
        _ => request += &format!("Content-Length: {}\r\n\r\n{body}", body.len()),
    }
    stream.write_all(request.as_bytes()).map_err(unanswered)?;
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).map_err(unanswered)? == 0 {
            return Err(Failure::Unanswered(format!("no answer: {head:?}")));
        }
    }
    let first = Instant::now();
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(Failure::Unanswered(head));
    }
    read_body(&mut stream, &head)
        .map(|body| (body, first))
        .map_err(|error| Failure::BrokenOff(error.to_string()))
}

fn read_body(stream: &mut BufReader<TcpStream>, head: &str) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    if let Some(length) = length {
        body.resize(length, 0);
        stream.read_exact(&mut body)?;
        return Ok(body);
    }
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim_end(), 16)
            .map_err(|_| std::io::Error::other(format!("broken off at {line:?}")))?;
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
