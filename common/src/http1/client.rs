//! The client's side of a connection: one exchange at a time, driven by whoever awaits it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use tokio::task::coop::unconstrained;

use super::error::Http1Error;
use super::framing::Framing;
use super::head;
use super::sending::{Encoding, Sending};
use super::stream::Stream;
use super::switched::Switched;
use super::wire::{SMALL, Wire};
use crate::fields::{Fields, Name};
use crate::message::{RequestHead, Response};

/// A connection that waits for its next request.
pub struct Client(Box<RefCell<Wire>>);

/// What came back for a request.
pub enum Reply<B> {
    /// An answer, whose body is still coming.
    Response(Response<ResponseBody<B>>),
    /// 101, and the connection that now speaks another protocol.
    Switched(Response<()>, Switched),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct SendError {
    /// What happened.
    pub error: Http1Error,
    /// Some of an answer had come: the request was acted on.
    pub answered: bool,
}

impl Client {
    /// Takes a fresh connection.
    pub fn new(stream: Stream) -> Self {
        Self(Box::new(RefCell::new(Wire::new(stream, BytesMut::new()))))
    }

    /// Whether the connection is silent, as one that waits must be: not ended, and nothing sent.
    pub fn is_idle(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let wire = self.0.get_mut();
        // A task that has used up its turn would find every connection silent.
        wire.input.is_empty()
            && pin!(unconstrained(poll_fn(|cx| wire.poll_fill(SMALL, cx))))
                .poll(&mut cx)
                .is_pending()
    }

    /// Whether an idle connection has not ended within this turn of the event loop either, which takes
    /// milliseconds under load. Costs a system call.
    pub fn is_still_idle(&mut self) -> bool {
        self.0.get_mut().stream.is_silent()
    }

    /// Sends a request and waits for the head of its answer. The head gets what says where the
    /// body ends. An answer may come before the request has left whole; the rest is then sent while
    /// the answer's body is read. Informational responses before it are given to `inform`. Dropping
    /// the future or the body closes the connection.
    pub async fn send<B>(
        self,
        head: &mut RequestHead,
        body: B,
        inform: &dyn Fn(&Response<()>),
    ) -> Result<Reply<B>, SendError>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let encoding = request_encoding(head, &body);
        let wire = self.0;
        let sending = (!body.is_end_stream())
            .then(|| Sending::new(Box::pin(body), encoding, false, &wire.borrow().stream));
        let mut exchange =
            Exchange { wire, sending, upload_error: None, scanned: 0, has_informed: false };
        let out = exchange.wire.get_mut().output();
        head::put_request(out, head);
        out.extend_from_slice(b"\r\n");
        let answer = poll_fn(|cx| exchange.poll_head(inform, cx)).await;
        let answered = exchange.scanned > 0 || exchange.has_informed;
        let response = answer.map_err(|error| SendError { error, answered })?;
        exchange
            .begin_body(response, &head.method)
            .map_err(|error| SendError { error, answered: true })
    }
}

/// A body of unknown length always goes in chunks, also with GET: without that it would be lost.
fn request_encoding(head: &mut RequestHead, body: &impl Body) -> Encoding {
    if body.is_end_stream() && !head.fields.contains(Name::ContentLength) {
        // RFC 9110 §8.6: where a body is usual, its absence is said.
        if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
            head.fields.append(Name::ContentLength, b"0");
        }
        return Encoding::Length(0);
    }
    Encoding::choose(&mut head.fields, body, true)
}

struct Exchange<B> {
    wire: Box<RefCell<Wire>>,
    /// The request's body, until it has left.
    sending: Option<Sending<Pin<Box<B>>>>,
    /// The target no longer takes the request; it may still answer.
    upload_error: Option<Http1Error>,
    scanned: usize,
    /// An informational response has come.
    has_informed: bool,
}

impl<B> Exchange<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn poll_head(
        &mut self,
        inform: &dyn Fn(&Response<()>),
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, Http1Error>> {
        self.poll_upload(cx)?;
        loop {
            let wire = self.wire.get_mut();
            if let Some(response) = head::take_response(&mut wire.input, &mut self.scanned)? {
                let status = response.status;
                if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                    self.has_informed = true;
                    inform(&response);
                    continue;
                }
                return Poll::Ready(Ok(response));
            }
            let ended = Http1Error::Ended("before it answered");
            match ready!(wire.poll_fill(SMALL, cx)) {
                Ok(1..) => {}
                Ok(0) => return Poll::Ready(Err(self.upload_error.take().unwrap_or(ended))),
                Err(error) => {
                    return Poll::Ready(Err(self.upload_error.take().unwrap_or(error.into())));
                }
            }
        }
    }

    /// Sends what there is. A target that stops reading may have answered already, so only the
    /// failure of the body itself is an error here.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Http1Error> {
        let sent = match &mut self.sending {
            Some(sending) => sending.poll(&self.wire, cx),
            None => self.wire.get_mut().poll_flush(cx).map_err(Http1Error::Io),
        };
        match sent {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.sending = None,
            Poll::Ready(Err(error @ Http1Error::Upload(_))) => return Err(error),
            Poll::Ready(Err(error)) => {
                self.sending = None;
                self.upload_error = Some(error);
            }
        }
        Ok(())
    }

    fn begin_body(
        mut self,
        response: Response<()>,
        method: &Method,
    ) -> Result<Reply<B>, Http1Error> {
        let wire = self.wire.get_mut();
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            let wire = self.wire.into_inner();
            return Ok(Reply::Switched(response, Switched::new(wire.input, wire.stream)));
        }
        let (framing, reusable) = Framing::of_response(method, &response)?;
        wire.decoder = framing.into();
        let reusable = reusable && keeps_alive(&response);
        Ok(Reply::Response(response.map(|()| ResponseBody { exchange: self, reusable })))
    }
}

fn keeps_alive(response: &Response<()>) -> bool {
    response.version == Version::HTTP_11 && !names_close(&response.fields)
}

/// Whether `Connection` says that this message is the last.
pub(super) fn names_close(fields: &Fields) -> bool {
    fields.elements(Name::Connection).any(|option| option.eq_ignore_ascii_case(b"close"))
}

/// The body of an answer, read from the connection when it is polled.
pub struct ResponseBody<B> {
    exchange: Exchange<B>,
    reusable: bool,
}

impl<B> ResponseBody<B> {
    /// The connection for its next request, if the exchange is over and left it in order.
    pub fn into_client(self) -> Option<Client> {
        let is_over = self.exchange.sending.is_none() && self.exchange.upload_error.is_none();
        let mut client = Client(self.exchange.wire);
        let wire = client.0.get_mut();
        wire.release_input();
        let in_order = wire.decoder.is_done() && wire.input.is_empty();
        (self.reusable && is_over && in_order).then_some(client)
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Http1Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Http1Error>>> {
        self.exchange.poll_upload(cx)?;
        self.exchange.wire.get_mut().poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.wire.borrow().decoder.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        self.exchange.wire.borrow().decoder.size_hint()
    }
}
