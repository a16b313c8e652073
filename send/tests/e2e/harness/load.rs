//! Requests that go on while something else happens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, header};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::body::{Filler, boxed, full};
use super::exchange::Http1;
use super::wait::until;
use super::worker::Worker;

/// Callers that send one request after the other and fail at the first that is not answered well.
pub struct Load {
    worker: Worker<()>,
    answered: Arc<AtomicUsize>,
}

impl Load {
    /// Eight callers per address; each target must answer with the text that is named for it.
    pub fn start(targets: &[(SocketAddr, &'static str)]) -> Self {
        let (targets, answered) = (targets.to_vec(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&answered);
        let worker = Worker::start(&format!("load on {}", targets[0].0), async move |stop| {
            let mut callers = JoinSet::new();
            for number in 0..8 * targets.len() {
                let (address, text) = targets[number % targets.len()];
                callers.spawn_local(call(address, text, number, stop.clone(), Arc::clone(&count)));
            }
            while let Some(ended) = callers.join_next().await {
                ended.unwrap();
            }
        });
        let load = Self { worker, answered };
        load.until_answered(100);
        load
    }

    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until this many more requests were answered well.
    pub fn until_answered(&self, more: usize) {
        let goal = self.answered() + more;
        until("answers under load", || {
            assert!(self.worker.is_alive(), "a caller under load failed, see above");
            (self.answered() >= goal).then_some(())
        });
    }

    /// Ends the callers, each after its request, and fails if one of them has.
    pub fn finish(mut self) {
        self.worker.finish();
    }
}

/// Alternates between requests without and with a body, on connections that are kept.
async fn call(
    address: SocketAddr,
    text: &'static str,
    number: usize,
    stop: CancellationToken,
    answered: Arc<AtomicUsize>,
) {
    let mut connection = Http1::connect(address).await;
    for turn in number.. {
        if stop.is_cancelled() {
            return;
        }
        let request = Request::builder().uri("/load").header(header::HOST, "caller");
        let request = match turn % 2 {
            0 => request.body(full("")),
            _ => request.method("POST").body(boxed(Filler::sized(64 * 1024))),
        };
        let response = connection.send(request.unwrap()).await.unwrap();
        let answer = str::from_utf8(response.body()).unwrap();
        assert_eq!((response.status().as_u16(), answer), (200, text));
        answered.fetch_add(1, Ordering::Relaxed);
    }
}
