//! Connections to one target that are open and free: a stack for HTTP/1.1, shared ones for HTTP/2.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use hyper::client::conn::http2;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;
use tunnel_common::config::{Scheme, Target, TargetTls};
use tunnel_common::http1::Client;

use super::connect::Link;
use super::upload::RequestBody;

/// How long a connection may wait for its next request.
///
/// Below the 5 s after which Node, uvicorn and Apache close by default: the shorter end of a race
/// that a request without replay would lose. A new connection in a cluster costs under a
/// millisecond.
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(4);

/// How many free connections one target keeps; beyond it the oldest is closed.
const MAX_IDLE: usize = 256;

/// The pools of all targets, of which those unused for [`IDLE_LIMIT`] are forgotten.
#[derive(Default)]
pub(super) struct Pools {
    pools: RefCell<HashMap<Key, Rc<Pool>>>,
    closed: Cell<bool>,
}

impl Pools {
    /// The pool of `target`: routes that differ only in path or policy share it.
    pub(super) fn of(&self, target: &Target) -> Rc<Pool> {
        let key = Key {
            scheme: target.scheme,
            authority: target.authority.clone(),
            tls: target.tls.clone(),
        };
        let new = || Rc::new(Pool::new(target.scheme, self.closed.get()));
        self.pools.borrow_mut().entry(key).or_insert_with(new).clone()
    }

    /// Closes what nobody used for [`IDLE_LIMIT`].
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.pools.borrow_mut().retain(|_, pool| {
            pool.sweep(now);
            Rc::strong_count(pool) > 1 || !pool.is_empty()
        });
    }

    /// Closes all free connections, and from now on each other one when its exchange ends.
    pub(super) fn close(&self) {
        self.closed.set(true);
        for pool in self.pools.borrow().values() {
            pool.closed.set(true);
            pool.idle.borrow_mut().clear();
            pool.shared.borrow_mut().clear();
        }
    }
}

/// What has to be equal for two requests to share a connection.
#[derive(Debug, Eq)]
struct Key {
    scheme: Scheme,
    authority: Authority,
    tls: TargetTls,
}

/// [`Authority`] compares and hashes letter by letter, whatever their case, which is slow and gains
/// nothing here: two spellings of one target may well have two pools.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.authority.as_str() == other.authority.as_str()
            && self.scheme == other.scheme
            && self.tls == other.tls
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.authority.as_str().hash(state);
    }
}

/// Connections to one target.
pub(super) struct Pool {
    idle: RefCell<VecDeque<Idle>>,
    /// The oldest first.
    shared: RefCell<Vec<Shared>>,
    /// Held while a connection that all will share is dialled.
    dialling: Arc<Mutex<()>>,
    /// Whether the target is known to speak HTTP/1.1.
    is_http1: Cell<bool>,
    closed: Cell<bool>,
}

impl Pool {
    fn new(scheme: Scheme, closed: bool) -> Self {
        Self {
            idle: RefCell::default(),
            shared: RefCell::default(),
            dialling: Arc::default(),
            is_http1: Cell::new(scheme == Scheme::Http),
            closed: Cell::new(closed),
        }
    }

    /// Whether a new connection is for one request at a time, as far as is known.
    pub(super) fn is_http1(&self) -> bool {
        self.is_http1.get()
    }

    /// Waits for the turn to dial a connection that others may share. Cancel safe.
    pub(super) async fn dial_turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.dialling).lock_owned().await
    }

    /// The free connection that was used last: the hottest one, while the others may grow old. With
    /// `surely` it is looked at more closely, for a request that cannot be sent twice.
    pub(super) fn take_idle(&self, surely: bool) -> Option<Client> {
        let mut idle = self.idle.borrow_mut();
        expire(&mut idle, Instant::now());
        loop {
            let mut client = idle.pop_back()?.client;
            if client.is_idle() && (!surely || client.is_still_idle()) {
                return Some(client);
            }
        }
    }

    /// The oldest connection that one more request may share, so that those that are no longer needed
    /// fall out of use.
    pub(super) fn shared(&self) -> Option<Shared> {
        let mut all = self.shared.borrow_mut();
        all.retain(|shared| !shared.sender.is_closed());
        let shared = all.iter_mut().find(|shared| shared.has_room())?;
        shared.used = Instant::now();
        Some(shared.clone())
    }

    /// Remembers that the target speaks HTTP/1.1.
    pub(super) fn learn_http1(&self) {
        self.is_http1.set(true);
    }

    /// Offers a new connection to all further requests.
    pub(super) fn share(&self, sender: Sender, link: Link) -> Shared {
        let shared = Shared { sender, link, used: Instant::now(), streams: Rc::default() };
        self.is_http1.set(false);
        if !self.closed.get() {
            self.shared.borrow_mut().push(shared.clone());
        }
        shared
    }

    /// Gives no further request to `shared`; the ones on it go on.
    pub(super) fn forget(&self, shared: &Rc<()>) {
        self.shared.borrow_mut().retain(|other| !Rc::ptr_eq(&other.streams, shared));
    }

    /// Takes a connection back.
    pub(super) fn put(&self, client: Client) {
        if self.closed.get() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= MAX_IDLE {
            idle.pop_front();
        }
        idle.push_back(Idle { client, since: Instant::now() });
    }

    fn sweep(&self, now: Instant) {
        expire(&mut self.idle.borrow_mut(), now);
        self.shared.borrow_mut().retain(|shared| {
            let needed = shared.requests() > 0 || now.duration_since(shared.used) <= IDLE_LIMIT;
            needed && !shared.sender.is_closed()
        });
    }

    fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty() && self.shared.borrow().is_empty()
    }
}

/// An HTTP/2 connection that requests use at once, as many as the target takes
/// (`SETTINGS_MAX_CONCURRENT_STREAMS`).
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) sender: Sender,
    pub(super) link: Link,
    used: Instant,
    /// Counts the requests and names the connection.
    pub(super) streams: Rc<()>,
}

/// Sends requests on an HTTP/2 connection.
pub(super) type Sender = http2::SendRequest<RequestBody>;

impl Shared {
    /// Of a connection in the pool, which holds one of `streams` itself.
    fn requests(&self) -> usize {
        Rc::strong_count(&self.streams) - 1
    }

    fn has_room(&self) -> bool {
        self.link.most_streams().is_some_and(|most| self.requests() < most)
    }
}

struct Idle {
    client: Client,
    since: Instant,
}

/// Drops the connections that have waited too long: they are in front.
fn expire(idle: &mut VecDeque<Idle>, now: Instant) {
    while idle.front().is_some_and(|oldest| now.duration_since(oldest.since) > IDLE_LIMIT) {
        idle.pop_front();
    }
}
