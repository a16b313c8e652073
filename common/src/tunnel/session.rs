//! A session: the handle by which streams are opened and accepted on one tunnel.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::byte_stream::ByteStream;
use super::connection::{Connection, Side, Ticket};
use super::driver;
use super::error::{ResetCode, TunnelError};
use super::head::{self, EncodedHead};
use super::hello::{Hello, Notice};
use super::limits::Limits;
use super::stream_half::{RecvHalf, SendHalf};
use super::transport::Peer;
use crate::message::RequestHead;

/// One tunnel. Clones share it; it lives as long as its driver runs.
#[derive(Clone)]
pub struct Session {
    connection: Rc<RefCell<Connection>>,
    peer: Rc<Peer>,
}

/// A request of the peer's.
pub struct Incoming {
    /// Its head.
    pub head: RequestHead,
    /// Its body as it comes.
    pub body: RecvHalf,
    /// The way for the answer.
    pub reply: SendHalf,
}

impl Session {
    /// Begins a session on `io`. The future is its driver: it runs until the tunnel has ended and
    /// returns why; nothing happens unless it is polled.
    pub fn start(
        io: impl ByteStream,
        peer: Peer,
        side: Side,
        limits: Limits,
        hello: Hello,
    ) -> (Self, impl Future<Output = TunnelError>) {
        let connection = Connection::new(side, limits, hello, driver::now());
        let session = Self { connection: Rc::new(RefCell::new(connection)), peer: Rc::new(peer) };
        let driver = driver::drive(Rc::clone(&session.connection), io);
        (session, driver)
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What the peer has said of itself, up to date; `None` until its HELLO has come.
    pub fn hello(&self) -> Option<Hello> {
        self.connection.borrow().peer().cloned()
    }

    /// Whether streams can be opened: the peer has said HELLO and nobody is leaving.
    pub fn is_open(&self) -> bool {
        self.connection.borrow().is_open()
    }

    /// Streams that are alive.
    pub fn in_flight(&self) -> usize {
        self.connection.borrow().in_flight()
    }

    /// Whether something is about to be written.
    pub fn has_output(&self) -> bool {
        !self.connection.borrow_mut().output().is_empty()
    }

    /// Bytes that have arrived and were not read yet.
    pub fn buffered(&self) -> usize {
        self.connection.borrow().buffered()
    }

    /// Why the tunnel has ended, once it has.
    pub fn end(&self) -> Option<TunnelError> {
        self.connection.borrow().end().cloned()
    }

    /// Opens a stream with a request's head; `end` says that no body follows. Waits while the
    /// peer takes no more streams. Cancel safe.
    pub async fn open(
        &self,
        head: &EncodedHead,
        end: bool,
    ) -> Result<(SendHalf, RecvHalf), TunnelError> {
        let mut place = Place { connection: &self.connection, ticket: Ticket::default() };
        let id = poll_fn(|cx| place.poll_open(head, end, cx)).await?;
        Ok(self.halves(id))
    }

    /// The next request of the peer's. Cancel safe.
    pub async fn accept(&self) -> Result<Incoming, TunnelError> {
        loop {
            let id = poll_fn(|cx| self.connection.borrow_mut().poll_accept(cx)).await?;
            let (reply, body) = self.halves(id);
            let Some(head) = body.take_head() else { continue };
            match head::decode_request(&head) {
                Some(head) => return Ok(Incoming { head, body, reply }),
                None => reply.reset(ResetCode::Failed),
            }
        }
    }

    /// Tells the peer what has changed.
    pub fn notify(&self, notice: &Notice) {
        self.connection.borrow_mut().notify(notice);
    }

    /// Lets the peer open streams, on a session whose HELLO said `draining`.
    pub fn join(&self) {
        self.connection.borrow_mut().join();
    }

    /// Whether [`Self::join`] is still due.
    pub fn is_standby(&self) -> bool {
        self.connection.borrow().is_standby()
    }

    /// Asks the peer to open no more streams. [`Self::changed`] resolves when the last one has ended
    /// and the peer has all of it.
    pub fn drain(&self) {
        self.connection.borrow_mut().drain();
    }

    /// Nothing is in flight, nothing will be, and the peer has all that was sent.
    pub fn is_drained(&self) -> bool {
        self.connection.borrow().is_drained()
    }

    /// Says goodbye and ends the tunnel, with every stream that is still alive.
    pub fn close(&self, reason: &str) {
        self.connection.borrow_mut().close(reason);
    }

    /// Resolves when something about the session is not as it was when `seen` was returned: what
    /// the peer has said, the end of a drain, the end of the tunnel. Start with 0. Cancel safe,
    /// but only one task can wait.
    pub async fn changed(&self, seen: u64) -> u64 {
        poll_fn(|cx| self.connection.borrow_mut().poll_changed(seen, cx)).await
    }

    fn halves(&self, id: u32) -> (SendHalf, RecvHalf) {
        (SendHalf::new(&self.connection, id), RecvHalf::new(&self.connection, id))
    }
}

/// A place among those that wait to open a stream; dropping it gives it up.
struct Place<'a> {
    connection: &'a RefCell<Connection>,
    ticket: Ticket,
}

impl Place<'_> {
    fn poll_open(
        &mut self,
        head: &EncodedHead,
        end: bool,
        cx: &Context<'_>,
    ) -> Poll<Result<u32, TunnelError>> {
        self.connection.borrow_mut().poll_open(&mut self.ticket, head, end, cx)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.connection.borrow_mut().leave(&mut self.ticket);
    }
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.connection, &other.connection)
    }
}
