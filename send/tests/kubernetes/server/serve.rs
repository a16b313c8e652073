//! The HTTP side of the server.

use std::convert::Infallible;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::refusal::Refusal;
use super::request::Request;
use super::store::Change;

/// How often a watch without news gets a bookmark; a real server takes about a minute.
const BOOKMARKS: Duration = Duration::from_millis(50);

/// Serves until `stopped`, which cuts all connections.
pub fn serve(listener: TcpListener, shared: &Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (stream, _) = tokio::select! {
                _ = &mut stopped => return,
                accepted = listener.accept() => accepted.unwrap(),
            };
            stream.set_nodelay(true).unwrap();
            let shared = Arc::clone(shared);
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(shared.respond(request).await) }
            });
            // A client that hangs up is none of the server's concern.
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            Handle::current().spawn(async move { _ = connection.await });
        }
    });
}

/// Lines of JSON, until the other half of the queue is gone.
struct Lines(mpsc::Receiver<Bytes>);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

impl Shared {
    async fn respond(self: Arc<Self>, request: http::Request<Incoming>) -> Response<Lines> {
        let (head, body) = request.into_parts();
        // A client that hangs up gets no answer.
        let Ok(body) = body.collect().await else { return response(400, &Value::Null) };
        let request = match Request::parse(&head, &body.to_bytes()) {
            Ok(request) => request,
            Err(refusal) => return response(refusal.code, &refusal.status()),
        };
        *self.requests.lock().unwrap().entry((request.verb, request.kind.plural)).or_default() += 1;
        let faults = self.faults.lock().unwrap().clone();
        tokio::time::sleep(faults.delay).await;
        if let Some(status) = faults.status {
            let refusal = Refusal::new(status, "InternalError", "on purpose".to_owned());
            return response(status, &refusal.status());
        }
        if faults.forbidden.contains(&(request.verb, request.kind.plural)) {
            let refusal = Refusal::forbidden(request.verb, request.kind.plural, &request.namespace);
            return response(403, &refusal.status());
        }
        if request.verb != "watch" {
            let (status, value) = self.answer(&request);
            return response(status, &value);
        }
        let (lines, queue) = mpsc::channel(1);
        Handle::current().spawn(self.watch(request, lines));
        let mut response = Response::new(Lines(queue));
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        response
    }

    /// Tells of changes until the client hangs up or the time that it asked for is over.
    async fn watch(self: Arc<Self>, request: Request, lines: mpsc::Sender<Bytes>) {
        let limit = Duration::from_secs(request.number("timeoutSeconds").unwrap_or(300));
        let end = Instant::now() + limit;
        let mut version = request.number("resourceVersion").unwrap_or_default();
        let mut changed = self.changed.subscribe();
        while Instant::now() < end {
            changed.borrow_and_update();
            let (events, is_over) = self.events(&request, &mut version);
            for event in events {
                if lines.send(line(&event)).await.is_err() {
                    return;
                }
            }
            if is_over {
                return;
            }
            let next = (Instant::now() + BOOKMARKS).min(end);
            let is_quiet = timeout_at(next, changed.changed()).await.is_err();
            if is_quiet && request.query.get("allowWatchBookmarks").is_some_and(|it| it == "true") {
                let bookmark = json!({ "type": "BOOKMARK", "object": {
                    "kind": request.kind.kind, "apiVersion": request.kind.api_version,
                    "metadata": { "resourceVersion": version.to_string() },
                } });
                if lines.send(line(&bookmark)).await.is_err() {
                    return;
                }
                self.bookmarked(request.kind.plural, version);
            }
        }
    }

    fn bookmarked(&self, resource: &'static str, version: u64) {
        let mut bookmarks = self.bookmarks.lock().unwrap();
        let (told, count) = bookmarks.entry(resource).or_default();
        *count = if *told == version { *count + 1 } else { 1 };
        *told = version;
    }
}

impl Shared {
    /// What has changed since `version`, which goes on; and whether the watch is at its end.
    fn events(&self, request: &Request, version: &mut u64) -> (Vec<Value>, bool) {
        let store = self.store.lock().unwrap();
        let since = std::mem::replace(version, store.version().max(*version));
        match store.since(since) {
            Ok(changes) => (changes.filter_map(|change| event(request, change)).collect(), false),
            Err(refusal) => (vec![json!({ "type": "ERROR", "object": refusal.status() })], true),
        }
    }
}

/// What a watch tells of a change, if it concerns it.
fn event(request: &Request, change: &Change) -> Option<Value> {
    let (plural, namespace, _) = &change.key;
    if *plural != request.kind.plural || *namespace != request.namespace {
        return None;
    }
    let selected = |object: &Option<Value>| object.clone().filter(|object| request.selects(object));
    let (kind, mut object) = match (selected(&change.before), selected(&change.after)) {
        (None, None) => return None,
        (None, Some(object)) => ("ADDED", object),
        (Some(_), Some(object)) => ("MODIFIED", object),
        (Some(object), None) => ("DELETED", object),
    };
    object["metadata"]["resourceVersion"] = json!(change.version.to_string());
    Some(json!({ "type": kind, "object": object }))
}

fn line(value: &Value) -> Bytes {
    format!("{value}\n").into()
}

fn response(status: u16, value: &Value) -> Response<Lines> {
    let (lines, queue) = mpsc::channel(1);
    // There is room for one.
    let _ = lines.try_send(line(value));
    let mut response = Response::new(Lines(queue));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response
}
