//! `tunnel-send`: a caller's bytes in, frames out; frames in, the answer's bytes out.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::LocalRuntime;
use tunnel_common::condition::Condition;
use tunnel_common::config::Config;
use tunnel_common::drain::Drain;
use tunnel_common::edge::{self, Limits};
use tunnel_common::headers::Address;
use tunnel_common::http1::Stream;
use tunnel_common::http1::benching::REQUEST;
use tunnel_common::tunnel::{Hello, Peer};
use tunnel_send::forward::{Caller, Forward, Mapping, ReplyBody};
use tunnel_send::metrics::Metrics;
use tunnel_send::sessions::Sessions;

use super::far_end::FarEnd;
use super::{BODY, WARM_UP, quiet};

/// The end, and a caller that keeps its connection.
pub(super) struct SendEnd {
    runtime: LocalRuntime,
    caller: RefCell<TcpStream>,
}

impl SendEnd {
    /// An end that has served some requests.
    pub(super) fn warm() -> Self {
        let runtime = LocalRuntime::new().expect("a runtime");
        let caller = RefCell::new(runtime.block_on(connect()));
        let end = Self { runtime, caller };
        end.requests(WARM_UP);
        end
    }

    /// Sends requests, one after the other.
    pub(super) fn requests(&self, count: usize) {
        let mut caller = self.caller.borrow_mut();
        self.runtime.block_on(async {
            for _ in 0..count {
                exchange(&mut caller).await;
            }
        });
    }
}

/// Starts the end, without the listeners that a config would open on ports of its own.
async fn connect() -> TcpStream {
    let (drain, metrics) = (Drain::new(), Metrics::default());
    let sessions = Rc::new(Sessions::new(
        quiet(),
        Hello { instance: "near".to_owned(), ..Hello::default() },
        Duration::from_secs(10),
        metrics.clone(),
        drain.clone(),
        drain.clone(),
    ));
    let answer = [
        ("content-type", "application/json"),
        ("content-length", "36"),
        ("date", "Sat, 21 Nov 2026 02:21:06 GMT"),
        ("cache-control", "no-cache"),
        ("via", "1.1 isthmus"),
    ];
    sessions.add(FarEnd::answering(&answer, BODY), Peer::default());
    let forward = Rc::new(Forward::new(sessions, metrics.in_flight.clone(), 1024));
    let config = Config::parse(
        r#"{"data":[{"port":8050,"remoteIP":"http://albums:8080"}]}"#,
        Path::new("config.json"),
    );
    let condition = Condition::from(8050);
    let route = config.expect("a good config").route(&condition).expect("its route").clone();
    let mapping = Rc::new(Mapping {
        route: RefCell::new(route),
        tls: RefCell::default(),
        metrics: metrics.mapping(&condition),
    });

    let listener = edge::Listener::bind(([127, 0, 0, 1], 0).into(), 1).expect("a free port");
    let address = listener.local_addr().expect("its address");
    let tasks = drain.clone();
    drain.spawn(async move {
        let (stream, peer, _place) = listener.accept("albums").await;
        let caller = Caller { address: Address::from(peer.ip()), tls: false };
        let call = |head, body| Rc::clone(&forward).call(Rc::clone(&mapping), &caller, head, body);
        let refuse = |error: &_| mapping.refuse(error, false).map(ReplyBody::from);
        edge::serve(Stream::Plain(stream), call, refuse, &Limits::default(), &tasks).await;
    });
    TcpStream::connect(address).await.expect("a connection")
}

async fn exchange(caller: &mut TcpStream) {
    caller.write_all(REQUEST).await.expect("a caller that is read");
    let (mut answer, mut len) = ([0; 1024], 0);
    while !answer[..len].ends_with(BODY) {
        match caller.read(&mut answer[len..]).await {
            Ok(more @ 1..) => len += more,
            end => panic!("{end:?} after {}", answer[..len].escape_ascii()),
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
}
