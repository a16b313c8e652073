//! The control thread: what must not disturb the data thread runs here.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use std::{io, thread};

use tokio::runtime;
use tokio::sync::oneshot;

/// One thread with a runtime of its own for the admin listener, the config watch and the
/// Kubernetes API.
///
/// In a build that unwinds, a panic of one of its tasks is logged and ends that task only. The
/// release build aborts the process on any panic.
#[derive(Debug)]
pub struct Control {
    runtime: runtime::Handle,
    /// Dropping it tells the thread to end.
    stop: oneshot::Sender<()>,
    /// Yields `Disconnected` when the thread has ended: a thread's own handle waits without limit.
    ended: mpsc::Receiver<()>,
}

impl Control {
    /// Starts the thread. Fails when the system gives no thread or no file descriptors.
    pub fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let (alive, ended) = mpsc::sync_channel(0);
        thread::Builder::new().name("control".to_owned()).spawn(move || {
            let _alive = alive;
            // Nothing is ever sent: either outcome means that the other end is gone.
            let _ = runtime.block_on(stopped);
            // A blocking call, such as a name lookup that hangs, must not hold up the end.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, stop, ended })
    }

    /// Runs `task` until it ends or the thread is stopped, which drops it at an await. `name` is
    /// for the log. The task must not block.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.runtime.spawn(task);
        self.runtime.spawn(async move {
            if task.await.is_err_and(|error| error.is_panic()) {
                tracing::error!(task = name, "a control task panicked");
            }
        });
    }

    /// Runs `task` there and waits for what it comes to; `None` if the thread or the task ended
    /// without a result. Dropping this leaves the task running.
    pub async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.runtime.spawn(task).await.ok()
    }

    /// Drops all tasks and blocks until the thread has ended, at most `grace`. Says whether it
    /// has; a thread that is stuck is left behind.
    pub fn stop(self, grace: Duration) -> bool {
        drop(self.stop);
        self.ended.recv_timeout(grace) == Err(RecvTimeoutError::Disconnected)
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn stopping_drops_the_tasks_and_ends_the_thread() {
        let control = Control::start().unwrap();
        let (held, dropped) = mpsc::sync_channel::<()>(0);
        control.spawn("endless", async move {
            let _held = held;
            future::pending::<()>().await;
        });
        assert!(control.stop(SOON));
        assert_eq!(dropped.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn stopping_does_not_wait_for_a_stuck_task() {
        let control = Control::start().unwrap();
        let (begun, running) = mpsc::sync_channel(1);
        let (release, held) = mpsc::sync_channel::<()>(0);
        control.spawn("stuck", async move {
            begun.send(()).unwrap();
            let _ = held.recv();
        });
        running.recv_timeout(SOON).unwrap();
        assert!(!control.stop(Duration::from_millis(10)));
        drop(release);
    }

    #[test]
    fn a_panic_ends_its_task_only() {
        let control = Control::start().unwrap();
        control.spawn("broken", async { panic!("on purpose") });
        let (send, result) = mpsc::sync_channel(1);
        control.spawn("whole", async move { send.send(7).unwrap() });
        assert_eq!(result.recv_timeout(SOON), Ok(7));
        assert!(control.stop(SOON));
    }
}
