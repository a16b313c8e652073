//! Orderly end: every task is spawned through a [`Drain`], is told to finish, and is waited for.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns tasks on the current thread and ends them in steps: perhaps warned, asked, then forced.
///
/// Clones share one drain. Tasks run on the thread that spawned them, so they need not be `Send`.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    warned: CancellationToken,
    asked: CancellationToken,
    forced: CancellationToken,
    tasks: TaskTracker,
}

impl Drain {
    /// A drain that nobody has asked to finish.
    pub fn new() -> Self {
        Self::default()
    }

    /// A drain of its own that also hears when this one is asked or forced. `self` waits for the
    /// child's tasks only if one of its own tasks does.
    pub fn child(&self) -> Self {
        Self {
            warned: self.warned.child_token(),
            asked: self.asked.child_token(),
            forced: self.forced.child_token(),
            tasks: TaskTracker::new(),
        }
    }

    /// Runs `task` until it ends by itself or the drain is forced.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let forced = self.forced.clone();
        // A request's future is kilobytes large, and spawning would copy it several times.
        let mut task = Box::pin(task);
        let task = async move {
            let mut forced = pin!(cancelled(&forced));
            poll_fn(|cx| match task.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => forced.as_mut().poll(cx),
            })
            .await;
        };
        tokio::task::spawn_local(self.tasks.track_future(task));
    }

    /// Runs `task` only until the drain is asked: it has nothing to finish.
    pub fn spawn_until_asked(&self, task: impl Future<Output = ()> + 'static) {
        let asked = self.asked.clone();
        self.spawn(async move {
            asked.run_until_cancelled(task).await;
        });
    }

    /// Resolves when the tasks should finish what they do and take on nothing new. Cancel safe; to be
    /// polled by one task only.
    pub async fn asked(&self) {
        cancelled(&self.asked).await;
    }

    /// Whether [`asked`](Self::asked) has resolved.
    pub fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }

    /// Lets all tasks know that they will be asked to finish, so that they can say so to others.
    pub fn warn(&self) {
        self.warned.cancel();
    }

    /// Whether the end is near: warned of, or asked for.
    pub fn is_warned(&self) -> bool {
        self.warned.is_cancelled()
    }

    /// Asks all tasks to finish, without waiting for them.
    pub fn ask(&self) {
        self.warn();
        self.asked.cancel();
    }

    /// Asks all tasks to finish, waits at most `grace`, then drops the rest. Returns how many were
    /// dropped.
    pub async fn finish(&self, grace: Duration) -> usize {
        self.ask();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_ok() {
            return 0;
        }
        let cut = self.tasks.len();
        self.forced.cancel();
        self.tasks.wait().await;
        cut
    }

    /// How many tasks are alive.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }
}

/// Resolves when `token` is cancelled. A task's waker stays the same: it is left once, and from then on
/// the token is only looked at, which is cheaper.
async fn cancelled(token: &CancellationToken) {
    let (mut wait, mut listens) = (pin!(token.cancelled()), false);
    poll_fn(|cx| match std::mem::replace(&mut listens, true) {
        true if token.is_cancelled() => Poll::Ready(()),
        true => Poll::Pending,
        false => wait.as_mut().poll(cx),
    })
    .await;
}

/// hyper spawns its HTTP/2 tasks through the drain.
impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Drain {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
