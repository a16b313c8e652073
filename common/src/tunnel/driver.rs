//! The driver: joins a [`Connection`] to the byte stream that carries it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::time::Sleep;

use super::byte_stream::ByteStream;
use super::connection::Connection;
use super::error::TunnelError;

/// Reads in a row before the streams get to run.
const READS_PER_TURN: usize = 8;

/// How long the goodbye may take to leave.
const GOODBYE: Duration = Duration::from_secs(1);

/// Runs the tunnel until it ends, and returns why. Dropping the future ends the tunnel at once,
/// also if it was never polled.
pub(super) fn drive(
    connection: Rc<RefCell<Connection>>,
    io: impl ByteStream,
) -> impl Future<Output = TunnelError> {
    let mut driver = Driver { connection, io, room: BytesMut::new(), unflushed: false };
    async move {
        let deadline = driver.connection.borrow().deadline();
        let mut sleep = pin!(tokio::time::sleep_until(deadline.into()));
        let end = poll_fn(|cx| driver.poll(sleep.as_mut(), cx)).await;
        driver.say_goodbye(&end).await;
        end
    }
}

/// The time as tests may pause it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

struct Driver<Io> {
    connection: Rc<RefCell<Connection>>,
    io: Io,
    /// What the stream reads to, if it needs that.
    room: BytesMut,
    /// Something was written since the last flush.
    unflushed: bool,
}

impl<Io: ByteStream> Driver<Io> {
    fn poll(&mut self, sleep: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<TunnelError> {
        match self.turn(sleep, cx) {
            Ok(None) => Poll::Pending,
            Ok(Some(end)) | Err(end) => Poll::Ready(end),
        }
    }

    /// Reads before it looks at the clock: after this process was suspended, what has arrived
    /// meanwhile counts as a sign of life.
    fn turn(
        &mut self,
        sleep: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Result<Option<TunnelError>, TunnelError> {
        self.connection.borrow_mut().set_driver(cx);
        if self.read(cx)? {
            cx.waker().wake_by_ref();
        }
        self.check(sleep, cx)?;
        self.write(cx)?;
        let mut connection = self.connection.borrow_mut();
        if connection.next_turn() {
            cx.waker().wake_by_ref();
        }
        if connection.is_closed() && !self.unflushed {
            return Ok(Some(TunnelError::Closed));
        }
        Ok(connection.end().cloned())
    }

    /// Returns whether there may be more to read at once.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, TunnelError> {
        for _ in 0..READS_PER_TURN {
            match self.io.poll_receive(cx, &mut self.room)? {
                Poll::Ready(bytes) if bytes.is_empty() => return Err(TunnelError::HungUp),
                Poll::Ready(bytes) => self.connection.borrow_mut().receive(bytes, now())?,
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), TunnelError> {
        let mut connection = self.connection.borrow_mut();
        while !connection.output().is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, connection.output())? {
                Poll::Ready(0) => return Err(TunnelError::HungUp),
                Poll::Ready(len) => {
                    connection.output().advance(len);
                    connection.wrote(len, now());
                    self.unflushed = true;
                }
                Poll::Pending => {
                    connection.write_blocked(now());
                    break;
                }
            }
        }
        if self.unflushed && Pin::new(&mut self.io).poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        Ok(())
    }

    fn check(
        &mut self,
        mut sleep: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Result<(), TunnelError> {
        while sleep.as_mut().poll(cx).is_ready() {
            let mut connection = self.connection.borrow_mut();
            connection.check(now())?;
            sleep.as_mut().reset(connection.deadline().into());
        }
        Ok(())
    }

    /// Tells the streams at once, and the peer if it still listens.
    async fn say_goodbye(&mut self, end: &TunnelError) {
        {
            let mut connection = self.connection.borrow_mut();
            if matches!(end, TunnelError::Protocol(_) | TunnelError::Version) {
                connection.close(&end.to_string());
            }
            connection.fail(end.clone());
        }
        let goodbye = async {
            poll_fn(|cx| self.poll_flush_all(cx)).await?;
            self.io.shutdown().await.map_err(TunnelError::from)
        };
        // The tunnel is over either way; a peer that is gone cannot be told.
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TunnelError>> {
        self.write(cx)?;
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        match self.connection.borrow_mut().output().is_empty() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}

impl<Io> Drop for Driver<Io> {
    fn drop(&mut self) {
        self.connection.borrow_mut().fail(TunnelError::Closed);
    }
}
