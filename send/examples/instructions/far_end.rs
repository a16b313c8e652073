//! The other end of a tunnel, as `docs/tunnel-protocol.md` has it: it reads no more of a frame than
//! it needs, so that nearly all that is counted is the end that is measured.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tunnel_common::tunnel::ByteStream;

const PREFACE: &[u8] = b"\0ISTHMUS\0\x01\0\0";
const HELLO: u8 = 1;
const HEAD: u8 = 3;
const DATA: u8 = 4;
const END: u8 = 0x80;

/// A head begins so: a response, 200.
const OK: [u8; 3] = [2, 0, 200];

const HELLO_JSON: &[u8] =
    br#"{"instance":"far","conditions":["8050"],"max_streams":4096,"initial_credit":262144}"#;

/// A byte stream with the far end behind it. Clones share it.
#[derive(Clone)]
pub(super) struct FarEnd(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    /// What the near end has yet to read.
    input: Vec<u8>,
    reader: Option<Waker>,
    /// Head and body of the answer to each request; without it, requests come from here.
    answer: Option<(Vec<u8>, &'static [u8])>,
    /// Streams that the near end has ended.
    ended: u32,
    waiter: Option<Waker>,
}

impl FarEnd {
    /// Answers each request with 200, these fields and this body.
    pub(super) fn answering(fields: &[(&str, &str)], body: &'static [u8]) -> Self {
        let mut head = OK.to_vec();
        put_fields(&mut head, fields);
        Self::new(State { answer: Some((head, body)), ..State::default() })
    }

    /// Sends requests.
    pub(super) fn asking() -> Self {
        Self::new(State::default())
    }

    fn new(mut state: State) -> Self {
        state.input.extend_from_slice(PREFACE);
        state.put_frame(0, HELLO, HELLO_JSON);
        Self(Rc::new(RefCell::new(state)))
    }

    /// Sends the head of a request without body on a stream, and waits until its answer has ended.
    pub(super) async fn ask(&self, stream: u32, head: &[u8]) {
        let ended = self.0.borrow().ended;
        self.0.borrow_mut().put_frame(stream, HEAD | END, head);
        poll_fn(|cx| {
            let mut state = self.0.borrow_mut();
            if state.ended > ended {
                return Poll::Ready(());
            }
            state.waiter = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl State {
    fn put_frame(&mut self, stream: u32, kind: u8, payload: &[u8]) {
        self.input.extend_from_slice(&stream.to_be_bytes());
        self.input
            .extend_from_slice(&((u32::from(kind) << 24) | payload.len() as u32).to_be_bytes());
        self.input.extend_from_slice(payload);
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    /// Takes whole frames, as the near end writes them while nothing holds it up.
    fn take(&mut self, frames: &[u8]) {
        let mut rest = frames.strip_prefix(PREFACE).unwrap_or(frames);
        while let Some((header, after)) = rest.split_first_chunk::<8>() {
            let [s0, s1, s2, s3, kind, l0, l1, l2] = *header;
            let len = u32::from_be_bytes([0, l0, l1, l2]) as usize;
            rest = after.get(len..).expect("a whole frame");
            if kind & !END == HEAD && self.answer.is_none() {
                assert!(after.starts_with(&OK), "another answer than 200");
            }
            if kind & END != 0 {
                self.ended(u32::from_be_bytes([s0, s1, s2, s3]));
            }
        }
    }

    fn ended(&mut self, stream: u32) {
        self.ended += 1;
        self.waiter.take().into_iter().for_each(Waker::wake);
        if let Some((head, body)) = self.answer.take() {
            self.put_frame(stream, HEAD, &head);
            self.put_frame(stream, DATA | END, body);
            self.answer = Some((head, body));
        }
    }
}

impl ByteStream for FarEnd {}

impl AsyncRead for FarEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        if state.input.is_empty() {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = buf.remaining().min(state.input.len());
        buf.put_slice(&state.input[..len]);
        state.input.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FarEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().take(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The head of a GET request.
pub(super) fn get(target: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut head = vec![1];
    put_short(&mut head, "GET");
    put_short(&mut head, target);
    put_fields(&mut head, fields);
    head
}

fn put_fields(head: &mut Vec<u8>, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        put_short(head, name);
        put_short(head, value);
    }
}

fn put_short(head: &mut Vec<u8>, text: &str) {
    head.extend_from_slice(&(text.len() as u16).to_be_bytes());
    head.extend_from_slice(text.as_bytes());
}
