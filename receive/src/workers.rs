//! Tasks that serve requests one after the other: to wake one costs a fraction of beginning one.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::timeout;
use tunnel_common::drain::Drain;
use tunnel_common::metrics::Unfinished;
use tunnel_common::tunnel::Incoming;

use crate::forward::Forward;

/// Tasks that are kept for further requests, at 2 KiB each.
const MAX_IDLE: usize = 64;

/// How often those are let go that no request has needed since the last time.
const SWEEP: Duration = Duration::from_secs(2);

/// Serves requests, each in a task of its own while it lasts.
pub(crate) struct Workers {
    forward: Rc<Forward>,
    /// Counts the requests that were broken off.
    cut: Counter,
    drain: Drain,
    /// Where those wait that have nothing to do; the last of them is the next to be woken.
    idle: RefCell<Vec<Rc<Desk>>>,
    /// How many have waited since the last sweep.
    unneeded: Cell<usize>,
}

impl Workers {
    pub(crate) fn new(forward: Rc<Forward>, cut: Counter, drain: &Drain) -> Rc<Self> {
        let workers = Rc::new(Self {
            forward,
            cut,
            drain: drain.clone(),
            idle: RefCell::default(),
            unneeded: Cell::default(),
        });
        drain.spawn(Rc::clone(&workers).sweep());
        workers
    }

    /// Begins with a request.
    pub(crate) fn serve(self: &Rc<Self>, request: Incoming) {
        let idle = self.idle.borrow_mut().pop();
        self.unneeded.update(|unneeded| unneeded.min(self.idle.borrow().len()));
        match idle {
            Some(desk) => desk.put(Next::Serve(request)),
            None => self.drain.spawn(Rc::clone(self).work(request)),
        }
    }

    /// Ends tasks that nothing needs, and all that have nothing to do when the drain is asked.
    async fn sweep(self: Rc<Self>) {
        loop {
            let asked = timeout(SWEEP, self.drain.asked()).await.is_ok();
            let waiting = self.idle.borrow().len();
            let unneeded = self.unneeded.replace(waiting).min(waiting);
            let ending = if asked { waiting } else { unneeded };
            self.idle.borrow_mut().drain(..ending).for_each(|desk| desk.put(Next::End));
            if asked {
                return;
            }
        }
    }

    async fn work(self: Rc<Self>, first: Incoming) {
        let desk = Rc::new(Desk::default());
        let mut request = first;
        loop {
            {
                let Incoming { mut head, body, reply } = request;
                let unfinished = Unfinished::new(&self.cut);
                self.forward.serve(&mut head, body, reply).await;
                unfinished.ended();
            }
            if self.drain.is_asked() || self.idle.borrow().len() >= MAX_IDLE {
                return;
            }
            self.idle.borrow_mut().push(Rc::clone(&desk));
            match poll_fn(|cx| desk.poll(cx)).await {
                Next::Serve(next) => request = next,
                Next::End => return,
            }
        }
    }
}

#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
enum Next {
    Serve(Incoming),
    End,
}

/// Where a task finds what it is to do next.
#[derive(Default)]
struct Desk {
    next: Cell<Option<Next>>,
    waker: Cell<Option<Waker>>,
}

impl Desk {
    fn put(&self, next: Next) {
        self.next.set(Some(next));
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Next> {
        match self.next.take() {
            Some(next) => Poll::Ready(next),
            None => {
                self.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}
