//! The corpus against real origins: none sees two requests where one was sent, nor another route.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};

use crate::bridge::Bridge;
use crate::corpus::{CORPUS, Case, Fate};
use crate::harness::caller::Caller;
use crate::harness::place::Place;
use crate::origins::Origin;

/// An origin behind the bridge, and one that nothing may reach.
struct Range {
    origin: Origin,
    bridge: Bridge,
    other: TcpListener,
    wrong: Vec<String>,
}

impl Range {
    fn new(origin: &str) -> Self {
        let origin = Origin::start(origin);
        let other = TcpListener::bind(Place::take().port(0)).unwrap();
        let urls = [origin.server.address, other.local_addr().unwrap()];
        let bridge = Bridge::to(&urls.map(|address| format!("http://{address}")));
        Self { origin, bridge, other, wrong: Vec::new() }
    }

    fn mapping(&self) -> SocketAddr {
        self.bridge.mapping(0)
    }

    fn check(&mut self, ok: bool, case: &str, what: impl FnOnce() -> String) {
        if !ok {
            self.wrong.push(format!("{case}: {}", what()));
        }
    }

    /// Sends the bytes on a connection of their own, and checks the answers to them.
    fn send(&mut self, case: &Case) {
        let mut caller = Caller::connect(self.mapping());
        caller.send(self.fill(case));
        let answers = match case.fate {
            Fate::Broken => 0,
            Fate::Two => 2,
            Fate::Refused(_) | Fate::Passed => 1,
        };
        for _ in 0..answers {
            let reply = caller.reply();
            match case.fate {
                Fate::Refused(status) => {
                    let refused = reply.status == status && reply.field("proxy-status").is_some();
                    self.check(refused, case.name, || format!("it got {reply:?}"));
                }
                _ => {
                    let passed = reply.field("proxy-status").is_none();
                    self.check(passed, case.name, || format!("it got {reply:?}"));
                }
            }
        }
        caller.finish();
        let rest = caller.rest();
        let further = rest.windows(9).filter(|w| w == b"HTTP/1.1 ").count();
        let most = usize::from(matches!(case.fate, Fate::Broken | Fate::Two));
        self.check(further <= most, case.name, || format!("then {}", rest.escape_ascii()));
    }

    fn fill(&self, case: &Case) -> Vec<u8> {
        let mut bytes = case.bytes.to_vec();
        for (mark, text) in [
            ("{path}", format!("/case/{}", case.name)),
            ("{host}", self.mapping().to_string()),
            ("{other}", self.bridge.mapping(1).to_string()),
        ] {
            while let Some(at) = bytes.windows(mark.len()).position(|w| w == mark.as_bytes()) {
                bytes.splice(at..at + mark.len(), text.bytes());
            }
        }
        bytes
    }

    /// A request that comes after one of the corpus, likely on the same connection to the origin.
    fn probe(&mut self, case: &str) {
        let mut caller = Caller::connect(self.mapping());
        let path = format!("/probe/{case}");
        caller.send_get(&path, "Connection: close\r\n");
        let reply = caller.reply();
        self.check(reply.field("x-seen") == Some(&path), case, || {
            format!("the next got {reply:?}")
        });
    }

    /// Checks what the origin has seen.
    fn check_log(&mut self) {
        let log = self.origin.log_until("/probe/last");
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for line in log.lines().filter(|line| !line.contains("/probe/")) {
            let case = line.split(' ').find_map(|word| word.strip_prefix("/case/"));
            let case = case.and_then(|name| {
                CORPUS
                    .iter()
                    .find(|case| name.starts_with(case.name) && is_path_end(name, case.name))
            });
            let Some(case) = case else {
                self.wrong.push(format!("the origin saw {line:?}"));
                continue;
            };
            *seen.entry(case.name).or_default() += 1;
            let host = line.rsplit(' ').next().unwrap();
            let intended = self.host(case);
            self.check(host == intended, case.name, || format!("the origin saw {line:?}"));
        }
        for case in CORPUS {
            let times = seen.get(case.name).copied().unwrap_or(0);
            let fine = match case.fate {
                Fate::Refused(_) => times == 0,
                Fate::Broken => times <= 1,
                Fate::Passed => times == 1,
                Fate::Two => times == 2,
            };
            self.check(fine, case.name, || format!("the origin saw it {times} times"));
        }
        self.other.set_nonblocking(true).unwrap();
        assert!(self.other.accept().is_err(), "something reached the other mapping's target");
    }

    /// The host that the request was for.
    fn host(&self, case: &Case) -> String {
        match case.name {
            "http-1.0-no-host" => self.origin.server.address.to_string(),
            "host-of-another-mapping" | "absolute-another-host" | "absolute-no-host" => {
                self.bridge.mapping(1).to_string()
            }
            _ => self.mapping().to_string(),
        }
    }
}

/// One name may begin with another.
fn is_path_end(path: &str, name: &str) -> bool {
    path[name.len()..].is_empty() || path[name.len()..].starts_with('\\')
}

fn run(origin: &str) {
    let mut range = Range::new(origin);
    range.probe("first");
    for case in CORPUS {
        range.send(case);
        range.probe(case.name);
    }
    range.probe("last");
    range.check_log();
    assert!(range.wrong.is_empty(), "{}", range.wrong.join("\n"));
}

#[test]
fn nginx() {
    run("nginx");
}

#[test]
fn haproxy() {
    run("haproxy");
}

#[test]
fn apache2() {
    run("apache2");
}

#[test]
fn uvicorn() {
    run("uvicorn");
}

#[test]
fn gunicorn() {
    run("gunicorn");
}

#[test]
fn node() {
    run("node");
}
