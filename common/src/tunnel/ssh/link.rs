//! What the layers around one SSH connection know of each other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio_util::sync::{CancellationToken, DropGuard};

/// Joins the layers of one SSH connection. Clones share it.
#[derive(Clone, Default)]
pub struct Link {
    cut: CancellationToken,
    backlog: Arc<Backlog>,
}

#[derive(Default)]
struct Backlog {
    bytes: AtomicUsize,
    blocked: Mutex<Option<Waker>>,
}

impl Link {
    /// With this many bytes waiting for the socket, the channel takes no more: 256 KiB.
    pub const HIGH: usize = 256 * 1024;

    /// For a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the connection when the guard is dropped: the wire fails, and `russh` with it.
    pub fn cut_on_drop(&self) -> DropGuard {
        self.cut.clone().drop_guard()
    }

    pub(super) fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// The wire holds this many bytes now.
    pub(super) fn set_backlog(&self, bytes: usize) {
        let before = self.backlog.bytes.swap(bytes, Ordering::Relaxed);
        if before >= Self::HIGH && bytes < Self::HIGH {
            let waker = self.backlog.blocked().take();
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Whether the channel may write. Wakes the last task that was told to wait.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.backlog.bytes.load(Ordering::Relaxed) < Self::HIGH {
            return Poll::Ready(());
        }
        // Wire and channel live on one thread, so that nothing comes between.
        *self.backlog.blocked() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Backlog {
    fn blocked(&self) -> impl std::ops::DerefMut<Target = Option<Waker>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
