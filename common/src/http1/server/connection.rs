//! One connection of a caller: its requests in, its answers out, and its patience.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{StatusCode, Version};
use http_body::Body;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::super::body::RequestBody;
use super::super::error::Http1Error;
use super::super::framing::Framing;
use super::super::head;
use super::super::sending::{Encoding, Sending};
use super::super::stream::Stream;
use super::super::switched::Switched;
use super::super::wire::{LARGE, SMALL, Wire};
use super::Caller;
use crate::drain::Drain;
use crate::edge::Limits;
use crate::fields::Name;
use crate::message::{RequestHead, Response};

/// What a caller may have sent beyond its request before it is read no further.
const MAX_AHEAD: usize = SMALL;

/// How long a caller is listened to after the last answer, unless it asks no more: while something comes
/// each second, and in all. Closing at once would reset the connection, and a caller in the middle of
/// an upload would lose the answer with it (RFC 9112 §9.6).
const LINGER_SILENCE: Duration = Duration::from_secs(1);
const LINGER: Duration = Duration::from_secs(30);

/// What a caller does next.
pub(super) enum Next {
    Request(RequestHead),
    Http2,
    End,
}

/// A caller's connection.
pub(super) struct Connection<'a> {
    limits: &'a Limits,
    /// Who waits for an answer.
    caller: Caller,
    /// How much had moved when the deadline of an answer was set.
    moved: u64,
    wire: Rc<RefCell<Wire>>,
    /// When the caller is given up, unless something comes.
    deadline: Instant,
    /// One timer for the connection's life, set anew as rarely as possible.
    sleep: Pin<Box<Sleep>>,
    scanned: usize,
    is_first: bool,
    /// The caller has said that it sends no request after this one.
    asks_no_more: bool,
    /// A request has begun, if only with empty lines, and its deadline runs.
    has_begun: bool,
}

impl<'a> Connection<'a> {
    pub(super) fn new(stream: Stream, limits: &'a Limits) -> Self {
        Self {
            limits,
            caller: Caller::UNKNOWN,
            moved: 0,
            deadline: Instant::now() + limits.idle_timeout,
            wire: Rc::new(RefCell::new(Wire::new(stream, BytesMut::new()))),
            sleep: Box::pin(sleep(limits.idle_timeout)),
            scanned: 0,
            is_first: true,
            asks_no_more: false,
            has_begun: false,
        }
    }

    /// The body of the request whose head was read last.
    pub(super) fn body(&self) -> RequestBody {
        RequestBody::new(&self.wire)
    }

    pub(super) fn limits(&self) -> &'a Limits {
        self.limits
    }

    pub(super) fn is_unused(&self) -> bool {
        self.wire.borrow().input.is_empty()
    }

    fn set_deadline(&mut self, after: Duration) {
        self.deadline = Instant::now() + after;
        if self.deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(self.deadline);
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if self.deadline <= self.sleep.deadline() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.deadline);
        }
    }

    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Http1Error>> {
        let shared = Rc::clone(&self.wire);
        let wire = &mut *shared.borrow_mut();
        let mut came = false;
        loop {
            if self.is_first {
                match http2_preface(&wire.input) {
                    Some(true) => return Poll::Ready(Ok(Next::Http2)),
                    Some(false) => self.is_first = false,
                    None => {}
                }
            }
            if !self.is_first
                && let Some(head) =
                    head::take_request(&mut wire.input, &mut self.scanned, self.limits)?
            {
                wire.decoder = Framing::of_request(&head.fields, head.version)?.into();
                self.has_begun = false;
                self.caller = Caller::of(&head);
                self.asks_no_more = !self.caller.keep_alive;
                wire.release_input();
                wire.is_informed = head.version == Version::HTTP_11;
                wire.expects_continue = expects_continue(&head) && !wire.decoder.is_done();
                return Poll::Ready(Ok(Next::Request(head)));
            }
            let was_unused = wire.input.is_empty();
            match wire.poll_fill(SMALL, cx)? {
                Poll::Ready(0) if was_unused => return Poll::Ready(Ok(Next::End)),
                Poll::Ready(0) => return Poll::Ready(Err(Http1Error::Ended("inside a head"))),
                Poll::Ready(_) => came = true,
                Poll::Pending => {
                    if came && !std::mem::replace(&mut self.has_begun, true) {
                        self.set_deadline(self.limits.head_timeout);
                    }
                    ready!(self.poll_deadline(cx));
                    return Poll::Ready(match was_unused {
                        true => Ok(Next::End),
                        false => Err(Http1Error::TimedOut),
                    });
                }
            }
        }
    }

    /// Awaits the answer, as long as the caller is there.
    pub(super) async fn answer<T>(
        &self,
        mut answer: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Http1Error> {
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Ok(answer)),
            Poll::Pending => {
                // An informational response may have been left here.
                let _ = self.wire.borrow_mut().poll_flush(cx)?;
                self.poll_gone(cx).map(Err)
            }
        })
        .await
    }

    /// Resolves when the caller hangs up; it is listened to once its request was read. Before, only
    /// a failure of the connection is noticed.
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<Http1Error> {
        let wire = &mut *self.wire.borrow_mut();
        if !wire.decoder.is_done() {
            wire.watcher = Some(cx.waker().clone());
            return wire.poll_failed(cx);
        }
        while wire.input.len() < MAX_AHEAD {
            match ready!(wire.poll_fill(SMALL, cx)) {
                Ok(0) => return Poll::Ready(Http1Error::Ended("before its answer")),
                Ok(_) => {}
                Err(error) => return Poll::Ready(error.into()),
            }
        }
        Poll::Pending
    }

    /// Begins a response: after it there is none if it `is_last`.
    pub(super) fn begin<B>(&mut self, mut response: Response<B>, is_last: bool) -> Sending<B>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Caller { version, is_head, keep_alive } = self.caller;
        let bodiless = matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let encoding = match bodiless || is_head {
            true => Encoding::None,
            false => {
                let may_chunk = version == Version::HTTP_11;
                Encoding::choose(&mut response.fields, &response.body, may_chunk)
            }
        };
        let keep_alive = keep_alive
            && !is_last
            && encoding != Encoding::UntilClose
            && self.reads_on(response.status);
        // Beside the `upgrade` of a 426.
        match (keep_alive, version) {
            (true, Version::HTTP_10) => response.fields.append(Name::Connection, b"keep-alive"),
            (true, _) => {}
            (false, _) => response.fields.append(Name::Connection, b"close"),
        }
        self.caller.keep_alive = keep_alive;
        let out = &mut *self.wire.borrow_mut();
        // A caller that still waits to be asked for its body learns the outcome instead.
        out.expects_continue = false;
        head::put_response(out.output(), &response);
        out.output().extend_from_slice(b"\r\n");
        Sending::new(response.body, encoding, !keep_alive, &out.stream)
    }

    /// Whether the request is read to its end: who fails it early seldom wants its rest.
    fn reads_on(&self, status: StatusCode) -> bool {
        let wire = self.wire.borrow();
        wire.decoder.is_done() || (wire.is_read() && status.is_success())
    }

    /// Sends what is left of a response, as long as the caller is there, and waits for the rest of the
    /// request if somebody still reads it. Returns whether another request may come.
    pub(super) fn finish<B>(
        &mut self,
        mut sending: Sending<B>,
    ) -> impl Future<Output = Result<bool, Http1Error>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (mut is_sent, mut is_timed) = (false, false);
        poll_fn(move |cx| {
            if !is_sent {
                let sent = sending.poll(&self.wire, cx);
                if let Poll::Ready(Err(_)) = &sent {
                    sending.break_off(&self.wire, cx);
                }
                is_sent = sent?.is_ready();
            }
            if is_sent && !self.wire.borrow().is_read() {
                return Poll::Ready(Ok(self.is_kept()));
            }
            if let Poll::Ready(gone) = self.poll_gone(cx) {
                return Poll::Ready(Err(gone));
            }
            // Most answers leave at once, and need no deadline.
            if !std::mem::replace(&mut is_timed, true) {
                self.set_deadline(self.limits.stream_idle_timeout);
            }
            self.poll_stalled(cx).map(Err)
        })
    }

    /// Whether the caller may ask again, now that it has its answer; if so, until when.
    fn is_kept(&mut self) -> bool {
        self.set_deadline(match self.is_unused() {
            true => self.limits.idle_timeout,
            false => self.limits.head_timeout,
        });
        let caller = std::mem::replace(&mut self.caller, Caller::UNKNOWN);
        caller.keep_alive && self.wire.borrow().decoder.is_done()
    }

    /// Resolves when nothing of an exchange has moved for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Http1Error> {
        loop {
            ready!(self.poll_deadline(cx));
            let moved = self.wire.borrow().moved;
            if moved == self.moved {
                return Poll::Ready(Http1Error::TimedOut);
            }
            self.moved = moved;
            self.set_deadline(self.limits.stream_idle_timeout);
        }
    }

    pub(super) async fn send_switch(&mut self, response: &Response<()>) -> Result<(), Http1Error> {
        {
            let out = &mut *self.wire.borrow_mut();
            head::put_response(out.output(), response);
            out.output().extend_from_slice(b"\r\n");
        }
        poll_fn(|cx| self.wire.borrow_mut().poll_flush(cx)).await?;
        Ok(())
    }

    /// Says that no more comes, and lets the caller read it; not for long once the drain is asked.
    pub(super) async fn close(&mut self, drain: &Drain) {
        let wire = &self.wire;
        let listen = async {
            poll_fn(|cx| Pin::new(&mut wire.borrow_mut().stream).poll_shutdown(cx)).await?;
            // Nothing is to come that would reset the connection.
            if self.asks_no_more && self.is_unused() && wire.borrow().decoder.is_done() {
                return Ok(());
            }
            loop {
                wire.borrow_mut().input.clear();
                let fill = poll_fn(|cx| wire.borrow_mut().poll_fill(LARGE, cx));
                match timeout(LINGER_SILENCE, fill).await {
                    Ok(Ok(1..)) => {}
                    _ => return io::Result::Ok(()),
                }
            }
        };
        let late = async {
            drain.asked().await;
            sleep(LINGER_SILENCE).await;
        };
        // Whatever comes of it, the connection is closed after it.
        tokio::select! {
            _ = timeout(LINGER, listen) => {}
            () = late => {}
        }
    }

    pub(super) fn into_switched(self) -> Result<Switched, Http1Error> {
        let wire = Rc::into_inner(self.wire).map(RefCell::into_inner);
        // A service that keeps a request's body after it has switched protocols keeps the reader.
        let wire = wire.ok_or(Http1Error::Malformed("a body beyond a switch of protocols"))?;
        Ok(Switched::new(wire.input, wire.stream))
    }
}

/// Whether the connection begins as HTTP/2 does (RFC 9113 §3.4); `None` if that is still open.
fn http2_preface(input: &[u8]) -> Option<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let len = input.len().min(PREFACE.len());
    match input.get(..len) == PREFACE.get(..len) {
        true if len == PREFACE.len() => Some(true),
        true => None,
        false => Some(false),
    }
}

fn expects_continue(head: &RequestHead) -> bool {
    let expect = head.fields.get(Name::Expect);
    head.version == Version::HTTP_11
        && expect.is_some_and(|expect| expect.eq_ignore_ascii_case(b"100-continue"))
}
