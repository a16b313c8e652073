//! A thread with a runtime of its own, as both apps have it in production.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

use tokio::runtime::LocalRuntime;
use tokio_util::sync::CancellationToken;

use super::panics;
use super::wait::LIMIT;

/// Something that runs beside the test until it is finished or dropped.
pub struct Worker<T> {
    name: String,
    stop: CancellationToken,
    result: Receiver<T>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Worker<T> {
    /// Runs `work` until it has heard that its token is cancelled, and ended.
    pub fn start<W>(name: &str, work: W) -> Self
    where
        W: AsyncFnOnce(CancellationToken) -> T + Send + 'static,
    {
        panics::watch();
        let stop = CancellationToken::new();
        let (send, result) = sync_channel(1);
        let stopped = stop.clone();
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            let done = LocalRuntime::new().unwrap().block_on(work(stopped));
            // Nobody is there to take it when the test has failed.
            let _ = send.send(done);
        });
        Self { name: name.to_owned(), stop, result, thread: Some(thread.unwrap()) }
    }

    /// Whether its thread is at work.
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Asks it to end.
    pub fn ask(&self) {
        self.stop.cancel();
    }

    /// Asks it to end and waits for that; `None` if that was done before.
    pub fn finish(&mut self) -> Option<T> {
        self.ask();
        let thread = self.thread.take()?;
        let result = self.result.recv_timeout(LIMIT);
        assert!(result.is_ok() || thread.is_finished(), "{} does not end", self.name);
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        panics::assert_none(&self.name);
        result.ok()
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
