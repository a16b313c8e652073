//! The tasks of one HTTP/2 connection, and their end.

use std::future::Future;
use std::time::Duration;

use tokio::sync::oneshot;

use super::inbox::Inbox;
use crate::drain::Drain;

/// How long a connection may live on after its pipe was dropped, to end in good order.
const LINGER: Duration = Duration::from_secs(5);

/// Owns the tasks of a connection: a drop cuts them all, unless [`leave`](Self::leave) came first.
pub(super) struct Connection {
    tasks: Drain,
    left: oneshot::Sender<Inbox>,
}

impl Connection {
    pub(super) fn new(drain: &Drain) -> Self {
        let tasks = drain.child();
        let (left, leaving) = oneshot::channel();
        drain.spawn(end(tasks.clone(), leaving));
        Self { tasks, left }
    }

    /// For hyper's tasks.
    pub(super) fn executor(&self) -> Drain {
        self.tasks.clone()
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.tasks.spawn(task);
    }

    /// Lets the tasks end by themselves, for [`LINGER`]. Meanwhile what comes is discarded: an
    /// abandoned call would be reset, and the peer lose what it has not read yet.
    pub(super) fn leave(self, inbox: Inbox) {
        // Fails only where the drain is forced, which cuts the tasks as well.
        let _ = self.left.send(inbox);
    }
}

async fn end(tasks: Drain, leaving: oneshot::Receiver<Inbox>) {
    let grace = match leaving.await {
        Ok(inbox) => {
            tasks.spawn(inbox.discard());
            LINGER
        }
        Err(_) => Duration::ZERO,
    };
    tasks.finish(grace).await;
}
