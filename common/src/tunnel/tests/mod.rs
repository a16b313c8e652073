//! Two sessions over an in-memory transport, with their drivers.

mod endings;
mod exchange;
mod fairness;
mod specification;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Collected};
use tokio::io::duplex;

use super::*;
use crate::drain::Drain;
use crate::message::{RequestHead, Response};

/// Far above what a healthy machine needs; only a hang reaches it.
const LIMIT: Duration = Duration::from_secs(60);

/// Both ends of a tunnel.
struct Tunnel {
    send: Session,
    receive: Session,
    drain: Drain,
}

impl Tunnel {
    /// A tunnel over a transport that holds `size` bytes each way.
    fn new(size: usize) -> Self {
        let (near, far) = duplex(size);
        let drain = Drain::new();
        let send = start(near, Side::Send, &drain);
        let receive = start(far, Side::Receive, &drain);
        Self { send, receive, drain }
    }

    /// Answers each request with its own body and trailers.
    fn echo(&self) {
        let (receive, drain) = (self.receive.clone(), self.drain.clone());
        self.drain.spawn(async move {
            while let Ok(incoming) = receive.accept().await {
                drain.spawn(async move {
                    let Incoming { body, mut reply, .. } = incoming;
                    if reply.send_head(&answer(), false).await.is_ok() {
                        let _ = reply.send_body(body).await;
                    }
                });
            }
        });
    }

    /// Nothing is in flight on either side, which a peer may learn a little later.
    async fn assert_idle(&self) {
        for session in [&self.send, &self.receive] {
            until(|| session.in_flight() == 0 && session.buffered() == 0).await;
        }
    }
}

/// A session whose driver runs.
fn start(io: impl ByteStream + 'static, side: Side, drain: &Drain) -> Session {
    let (session, driver) =
        Session::start(io, Peer::default(), side, Limits::default(), Hello::default());
    drain.spawn(async move {
        driver.await;
    });
    session
}

/// Waits for a state that other tasks of this thread bring about.
async fn until(mut reached: impl FnMut() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.unwrap();
}

fn request() -> EncodedHead {
    let mut head = RequestHead::get(Uri::from_static("/"));
    head.method = Method::POST;
    EncodedHead::request(&head).unwrap()
}

fn answer() -> EncodedHead {
    EncodedHead::response(&Response::new(StatusCode::OK, ())).unwrap()
}

/// `len` bytes in which a lost, doubled or displaced piece shows.
fn pattern(len: usize) -> Bytes {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Sends a request with `body`, and collects the answer.
async fn exchange<B>(session: &Session, body: B) -> Collected<Bytes>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (send, mut recv) = session.open(&request(), false).await.unwrap();
    let upload = send.send_body(body);
    let answer = async {
        assert_eq!(recv.response().await.unwrap().status, StatusCode::OK);
        recv.collect().await.unwrap()
    };
    let (sent, answer) = tokio::join!(upload, answer);
    sent.unwrap();
    answer
}

/// What the task of a spawned future has put here, once it has.
type Shared<T> = Rc<RefCell<Option<T>>>;
