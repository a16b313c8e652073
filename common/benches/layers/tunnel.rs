//! Two sessions joined in memory: the state machines, their drivers and the streams' halves.

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use http_body_util::{BodyExt, Full};
use tokio::runtime::LocalRuntime;
use tunnel_common::drain::Drain;
use tunnel_common::tunnel::{ByteStream, EncodedHead, Hello, Limits, Peer, Session, Side};

use super::sample;

/// What is underway between the two, as in the system's buffers.
const PIPE: usize = 256 * 1024;

pub(super) fn bench(criterion: &mut Criterion) {
    let tunnel = Tunnel::new();
    let mut group = criterion.benchmark_group("tunnel");
    for (name, len) in [("a request and its answer of 36 B", 36), ("an answer of 1 MiB", 1 << 20)] {
        let body = Bytes::from(vec![b'x'; len]);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(name, |bencher| bencher.iter(|| tunnel.exchange(&body)));
    }
    group.finish();
}

struct Tunnel {
    runtime: LocalRuntime,
    send: Session,
    receive: Session,
    request: EncodedHead,
    response: EncodedHead,
}

impl Tunnel {
    fn new() -> Self {
        let runtime = LocalRuntime::new().unwrap();
        let (send, receive) = runtime.block_on(async {
            let (near, far) = tokio::io::duplex(PIPE);
            (start(near, Side::Send), start(far, Side::Receive))
        });
        let response = sample::response();
        Self {
            runtime,
            send,
            receive,
            request: EncodedHead::request(&sample::request()).unwrap(),
            response: EncodedHead::response(&response).unwrap(),
        }
    }

    /// A request without body, and an answer with this one.
    fn exchange(&self, body: &Bytes) {
        let (read, ()) =
            self.runtime.block_on(async { tokio::join!(self.ask(), self.answer(body)) });
        assert_eq!(read, body.len());
    }

    /// Returns how much of the answer's body came.
    async fn ask(&self) -> usize {
        let (_send, mut recv) = self.send.open(&self.request, true).await.unwrap();
        recv.response().await.unwrap();
        let mut len = 0;
        while let Some(frame) = recv.frame().await {
            len += frame.unwrap().data_ref().map_or(0, Bytes::len);
        }
        len
    }

    async fn answer(&self, body: &Bytes) {
        let mut reply = self.receive.accept().await.unwrap().reply;
        reply.send_head(&self.response, false).await.unwrap();
        reply.send_body(Full::new(body.clone())).await.unwrap();
    }
}

fn start(io: impl ByteStream + 'static, side: Side) -> Session {
    let hello = Hello::default();
    let (session, driver) = Session::start(io, Peer::default(), side, Limits::default(), hello);
    Drain::new().spawn(async move {
        driver.await;
    });
    session
}
