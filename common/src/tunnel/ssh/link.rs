//! What the layers around one SSH connection know of each other.

use std::ops::DerefMut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio_util::sync::{CancellationToken, DropGuard};

use super::allowance::Allowance;

/// Joins the layers of one SSH connection. Clones share it.
#[derive(Clone, Default)]
pub struct Link {
    cut: CancellationToken,
    backlog: Arc<Backlog>,
    allowance: Arc<Mutex<Allowance>>,
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

    /// The wire has read this many bytes. Returns whether the peer may go on.
    pub(super) fn received(&self, bytes: usize) -> bool {
        self.allowance().spend(bytes)
    }

    /// The peer has sent this many bytes of the tunnel in a message.
    pub(super) fn delivered(&self, bytes: usize) {
        self.allowance().add(bytes + Allowance::PER_MESSAGE);
    }

    /// The wire has written this many bytes, for which the peer may have to send more credit.
    pub(super) fn sent(&self, bytes: usize) {
        self.allowance().add(bytes / Allowance::CREDIT_SHARE);
    }

    fn allowance(&self) -> impl DerefMut<Target = Allowance> {
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn blocked(&self) -> impl DerefMut<Target = Option<Waker>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
