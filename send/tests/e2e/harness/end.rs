//! One end of a bridge: an app that runs on its own thread.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc::sync_channel;

use anyhow::Result;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tunnel_receive::app::App as ReceiveApp;
use tunnel_receive::sessions::Sessions as ReceiveSessions;
use tunnel_send::app::App as SendApp;
use tunnel_send::sessions::Sessions as SendSessions;

use super::caller::get;
use super::reply::Reply;
use super::wait::LIMIT;
use super::worker::Worker;

/// What both apps have.
pub trait App: 'static {
    type Sessions: Sessions;
    fn sessions(&self) -> &Rc<Self::Sessions>;
    fn admin_address(&self) -> Option<SocketAddr>;
    fn run_until(self, stop: impl Future<Output = ()>) -> impl Future<Output = Result<()>>;
}

/// What both ends say of their tunnels.
pub trait Sessions: 'static {
    /// How many are up, requests in them, unread bytes.
    fn count(&self) -> (usize, usize, usize);
}

macro_rules! both {
    ($app:ty, $sessions:ty) => {
        impl App for $app {
            type Sessions = $sessions;
            fn sessions(&self) -> &Rc<$sessions> {
                self.sessions()
            }
            fn admin_address(&self) -> Option<SocketAddr> {
                self.admin_address()
            }
            async fn run_until(self, stop: impl Future<Output = ()>) -> Result<()> {
                self.run_until(stop).await
            }
        }
        impl Sessions for $sessions {
            fn count(&self) -> (usize, usize, usize) {
                (self.len(), self.in_flight(), self.buffered())
            }
        }
    };
}

both!(SendApp, SendSessions);
both!(ReceiveApp, ReceiveSessions);

/// What [`Sessions::count`] says, and the tasks of the app's runtime.
type Counts = ((usize, usize, usize), usize);

/// An app at work.
pub struct End {
    worker: Worker<Result<()>>,
    counts: mpsc::Sender<std::sync::mpsc::SyncSender<Counts>>,
    admin: SocketAddr,
}

impl End {
    /// Returns once the app is built, or why it cannot be.
    pub fn start<A, B>(name: &str, build: B) -> Result<Self>
    where
        A: App,
        B: AsyncFnOnce() -> Result<A> + Send + 'static,
    {
        let (built, outcome) = sync_channel(1);
        let (counts, mut asked) = mpsc::channel::<std::sync::mpsc::SyncSender<Counts>>(1);
        let mut worker = Worker::start(name, async move |stop| {
            let app = match build().await {
                Ok(app) => app,
                Err(error) => {
                    built.send(None).unwrap();
                    return Err(error);
                }
            };
            let sessions = Rc::clone(app.sessions());
            built.send(app.admin_address()).unwrap();
            let mut serving = pin!(app.run_until(stop.cancelled()));
            loop {
                tokio::select! {
                    result = &mut serving => return result,
                    Some(answer) = asked.recv() => {
                        let tasks = Handle::current().metrics().num_alive_tasks();
                        answer.send((sessions.count(), tasks)).unwrap();
                    }
                }
            }
        });
        match outcome.recv_timeout(LIMIT).unwrap() {
            Some(admin) => Ok(Self { worker, counts, admin }),
            None => Err(worker.finish().unwrap().unwrap_err()),
        }
    }

    /// Tunnels that are up.
    pub fn tunnels(&self) -> usize {
        self.count().0.0
    }

    /// Requests in the tunnels.
    pub fn in_flight(&self) -> usize {
        self.count().0.1
    }

    /// Unread bytes in the tunnels.
    pub fn buffered(&self) -> usize {
        self.count().0.2
    }

    /// Tasks that live on its data thread.
    pub fn tasks(&self) -> usize {
        self.count().1
    }

    fn count(&self) -> Counts {
        let (answer, counts) = sync_channel(1);
        self.counts.try_send(answer).unwrap();
        counts.recv_timeout(LIMIT).unwrap()
    }

    /// A page of the admin address.
    pub fn admin(&self, path: &str) -> Reply {
        get(self.admin, path)
    }

    /// The sum over all labels of a metric, `name` being the beginning of its line.
    pub fn metric(&self, name: &str) -> u64 {
        let page = self.admin("/metrics").text();
        let values = page.lines().filter(|line| line.starts_with(name));
        values.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&self) -> bool {
        self.worker.is_alive()
    }

    /// Asks it to end, without waiting for that.
    pub fn ask(&self) {
        self.worker.ask();
    }

    /// Ends it, and fails unless it ends well and on its own: the drain timeout is longer than
    /// this waits.
    pub fn stop(&mut self) {
        if let Some(result) = self.worker.finish() {
            result.unwrap();
        }
    }
}
