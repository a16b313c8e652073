//! A small Kubernetes API server: list, watch, create, update, apply and delete of the few kinds
//! that the bridge uses, with the faults that a real one has now and then.

mod fields;
mod kinds;
mod object;
mod refusal;
mod request;
mod serve;
mod store;
mod verbs;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use self::store::Store;

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Verb and resource that the account may not use.
    pub forbidden: Vec<(&'static str, &'static str)>,
    /// Every request is answered with this status.
    pub status: Option<u16>,
    /// Every answer waits for so long.
    pub delay: Duration,
}

struct Shared {
    store: Mutex<Store>,
    /// The version of the store.
    changed: watch::Sender<u64>,
    faults: Mutex<Faults>,
    /// How many requests of each verb and resource there were.
    requests: Mutex<BTreeMap<(&'static str, &'static str), usize>>,
    /// The version that watches of each resource were last told by bookmarks, and by how many.
    bookmarks: Mutex<BTreeMap<&'static str, (u64, usize)>>,
}

/// A server on a thread of its own, on an address of its own.
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// The listening thread and what ends it.
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl ApiServer {
    pub fn start() -> Self {
        let shared = Shared {
            store: Mutex::default(),
            changed: watch::channel(0).0,
            faults: Mutex::default(),
            requests: Mutex::default(),
            bookmarks: Mutex::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Self { shared: Arc::new(shared), address, running: None };
        server.listen(listener);
        server
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections and listens no more; the objects stay.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            thread.join().unwrap();
        }
    }

    /// Listens where it did before.
    pub fn restart(&mut self) {
        self.stop();
        self.listen(TcpListener::bind(self.address).unwrap());
    }

    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.shared.faults.lock().unwrap()
    }

    /// Forgets what has changed so far: watches from before that are gone.
    pub fn compact(&self) {
        self.shared.store.lock().unwrap().compact();
    }

    /// How many requests of this kind there were.
    pub fn requests(&self, verb: &'static str, resource: &'static str) -> usize {
        let requests = self.shared.requests.lock().unwrap();
        requests.get(&(verb, resource)).copied().unwrap_or_default()
    }

    /// Whether a watch of this resource was told the present version by a bookmark. That has left
    /// when two others have taken its place in the queue behind it.
    pub fn has_bookmarked(&self, resource: &'static str) -> bool {
        let version = self.shared.store.lock().unwrap().version();
        let bookmarks = self.shared.bookmarks.lock().unwrap();
        bookmarks.get(resource).is_some_and(|&(told, count)| told == version && count > 2)
    }

    fn listen(&mut self, listener: TcpListener) {
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let thread = spawn(move || serve::serve(listener, &shared, stopped));
        self.running = Some((stop, thread));
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop();
    }
}
