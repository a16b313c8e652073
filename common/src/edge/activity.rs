//! What goes on in a connection of many requests at a time, and for how long nothing does.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::sleep;

/// The requests of one connection.
#[derive(Default)]
pub(super) struct Activity {
    in_flight: Cell<usize>,
    /// Of these, those whose answer has begun.
    answering: Cell<usize>,
    /// Counts requests, and parts of bodies either way.
    moved: Cell<u64>,
}

impl Activity {
    /// Counts a request until all that is returned, and its clones, are dropped.
    pub(super) fn begin(self: &Rc<Self>) -> Rc<InFlight> {
        self.in_flight.update(|count| count + 1);
        self.note();
        Rc::new(InFlight { activity: Rc::clone(self), is_answering: Cell::default() })
    }

    /// Something has moved.
    fn note(&self) {
        self.moved.update(|count| count + 1);
    }

    /// Resolves when there has been no request for `limit`, or up to twice that.
    pub(super) async fn unused(&self, limit: Duration) {
        self.still(limit, |activity| activity.in_flight.get() == 0).await;
    }

    /// Resolves when nothing has moved for `limit`, or up to twice that, though answers have begun.
    /// Requests that wait for theirs, and streams that have switched protocols, have other limits.
    pub(super) async fn stalled(&self, limit: Duration) {
        let state = |activity: &Self| {
            let answering = activity.answering.get();
            answering > 0 && answering == activity.in_flight.get()
        };
        self.still(limit, state).await;
    }

    /// Resolves when `state` was found at two looks, and nothing has moved between them.
    async fn still(&self, limit: Duration, state: impl Fn(&Self) -> bool) {
        let mut last = None;
        loop {
            sleep(limit).await;
            let now = state(self).then(|| self.moved.get());
            if now.is_some() && now == last {
                return;
            }
            last = now;
        }
    }
}

/// A request that is in flight.
pub(super) struct InFlight {
    activity: Rc<Activity>,
    is_answering: Cell<bool>,
}

impl InFlight {
    /// Its answer has begun.
    pub(super) fn answers(&self) {
        if !self.is_answering.replace(true) {
            self.activity.answering.update(|count| count + 1);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let activity = &self.activity;
        activity.in_flight.update(|count| count - 1);
        activity.answering.update(|count| count - usize::from(self.is_answering.get()));
        activity.note();
    }
}

/// A body of a request in flight, or of its answer.
pub struct Tracked<B> {
    body: B,
    in_flight: Rc<InFlight>,
}

impl<B> Tracked<B> {
    pub(super) fn new(body: B, in_flight: &Rc<InFlight>) -> Self {
        Self { body, in_flight: Rc::clone(in_flight) }
    }
}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            self.in_flight.activity.note();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
