//! One call: which connection it takes, how long it waits, and whether it may be tried again.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use http_body::Body;
use tokio::time::{Instant, timeout_at};
use tunnel_common::config::{Route, Scheme};
use tunnel_common::error::ProxyError;
use tunnel_common::fields::Name;
use tunnel_common::headers::is_offered;
use tunnel_common::http1::{Answer, Client, MAX_FIELDS, Reply, SendError, Switched};
use tunnel_common::message::{RequestHead, Response};

use super::body::UpstreamBody;
use super::connect::{Connected, Dialler, timed_out};
use super::pool::{Pool, Shared};
use super::replay::{Failed, Replay};
use super::upload::{RequestBody, Upload};
use super::{after, failure, rewrite};

/// What a target answers.
pub type UpstreamAnswer = Answer<UpstreamBody, Switched>;

/// How often a request is sent until the target begins it. A target may take a number of requests from
/// each HTTP/2 connection and refuse the others that are under way, however many; the last try is the
/// first on a connection.
pub(super) const TRIES: usize = 4;

/// One request on its way to its target.
pub(super) struct Call<'a> {
    pub(super) route: &'a Route,
    pub(super) pool: Rc<Pool>,
    pub(super) dialler: &'a Dialler,
    /// Takes the informational responses that come before the answer, of HTTP/1.1 targets.
    pub(super) inform: &'a dyn Fn(&Response<()>),
}

impl Call<'_> {
    /// The first try is on a connection that is open already, if there is one.
    pub(super) async fn run(
        &self,
        head: &mut RequestHead,
        mut body: RequestBody,
    ) -> Result<UpstreamAnswer, ProxyError> {
        let is_upgrade = head.fields.contains(Name::Upgrade);
        let surely = !(head.method.is_idempotent() && body.is_end_stream());
        let mut open = self.reuse(is_upgrade, surely);
        let mut was_lost = false;
        for left in (0..TRIES).rev() {
            let connection = match open.take() {
                Some(connection) => connection,
                // Boxed, as it is large and most requests never need it.
                None => Box::pin(self.open(is_upgrade, left == 0)).await?,
            };
            body = match self.exchange(connection, head, body).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Lost(_)) if was_lost => break,
                Err(Failed::Lost(body)) => {
                    was_lost = true;
                    body
                }
                Err(Failed::NotBegun(body)) => body,
            };
        }
        Err(failure::LOST)
    }

    /// A connection that is open already; `surely` as in [`Pool::take_idle`].
    fn reuse(&self, is_upgrade: bool, surely: bool) -> Option<Connection> {
        if let Some(client) = self.pool.take_idle(surely) {
            return Some(Connection::Http1(client));
        }
        // TLS chose HTTP/2 for the shared ones, which cannot carry an upgrade.
        if is_upgrade && self.route.target.scheme == Scheme::Https {
            return None;
        }
        self.pool.shared().map(Connection::Http2)
    }

    /// A new connection, or one that another request has just opened to be shared, unless it has to be
    /// its `own`.
    async fn open(&self, is_upgrade: bool, own: bool) -> Result<Connection, ProxyError> {
        let start = Instant::now();
        let only_http1 = is_upgrade && self.route.target.scheme == Scheme::Https;
        if own || only_http1 || self.pool.is_http1() {
            return self.dial(start, only_http1).await;
        }
        let deadline = after(start, self.route.connect_timeout);
        let turn =
            timeout_at(deadline, self.pool.dial_turn()).await.map_err(|_| timed_out(self.route))?;
        if let Some(shared) = self.pool.shared() {
            return Ok(Connection::Http2(shared));
        }
        // If the target was found to speak HTTP/1.1 meanwhile, nobody behind needs to wait.
        let turn = (!self.pool.is_http1()).then_some(turn);
        let connection = self.dial(start, false).await?;
        if let Connection::Http2(shared) = &connection {
            self.dialler.hold(turn, shared.link.clone(), deadline);
        }
        Ok(connection)
    }

    async fn dial(&self, start: Instant, only_http1: bool) -> Result<Connection, ProxyError> {
        match self.dialler.dial(self.route, start, only_http1).await? {
            Connected::Http1(client) => {
                if !only_http1 {
                    self.pool.learn_http1();
                }
                Ok(Connection::Http1(client))
            }
            Connected::Http2(sender, link) => Ok(Connection::Http2(self.pool.share(sender, link))),
        }
    }

    async fn exchange(
        &self,
        connection: Connection,
        head: &mut RequestHead,
        body: RequestBody,
    ) -> Result<UpstreamAnswer, Failed> {
        match connection {
            Connection::Http1(client) => self.http1(client, head, body).await,
            Connection::Http2(shared) => Box::pin(self.http2(shared, head, body)).await,
        }
    }

    /// An idempotent request may be sent once more if the connection dies under it.
    async fn http1(
        &self,
        client: Client,
        head: &mut RequestHead,
        body: RequestBody,
    ) -> Result<UpstreamAnswer, Failed> {
        rewrite::for_http1(head)?;
        let replay = Replay::new(head, &body);
        if replay.idempotent {
            replay.keep();
        }
        let answer = {
            let sent = pin!(client.send(head, body, self.inform));
            self.answer(replay.upload.as_deref(), sent).await?
        };
        match answer {
            Ok(Reply::Response(response)) => Ok(Answer::Response(
                response.map(|body| UpstreamBody::http1(body, Rc::clone(&self.pool))),
            )),
            Ok(Reply::Switched(answer, connection)) if is_offered(&head.fields, &answer.fields) => {
                Ok(Answer::Switched(answer, connection))
            }
            Ok(Reply::Switched(..)) => Err(Failed::Final(ProxyError::HttpProtocol(
                "it switched to a protocol that was not offered".to_owned(),
            ))),
            Err(SendError { answered: true, error }) => Err(failure::of_http1(&error).0.into()),
            Err(SendError { error, .. }) => Err(replay.after(failure::of_http1(&error))),
        }
    }

    /// As [`Self::http1`]; any request may be sent again if the target says that it has not begun it.
    async fn http2(
        &self,
        shared: Shared,
        head: &mut RequestHead,
        body: RequestBody,
    ) -> Result<UpstreamAnswer, Failed> {
        rewrite::for_http2(head, self.route)?;
        let replay = Replay::new(head, &body);
        replay.keep();
        let Shared { mut sender, streams, link, .. } = shared;
        let sent = sender.try_send_request(head.to_http(body));
        let waiting = Waiting { pool: &self.pool, streams: &streams, since: Instant::now() };
        let answer = self.answer(replay.upload.as_deref(), pin!(sent)).await;
        waiting.end();
        let failed = match answer {
            Ok(Ok(response)) if response.headers().len() > MAX_FIELDS => Failed::Final(
                ProxyError::HttpProtocol(format!("its answer has more than {MAX_FIELDS} fields")),
            ),
            Ok(Ok(response)) => {
                let response = Response::from(response);
                return Ok(Answer::Response(
                    response.map(|incoming| UpstreamBody::http2(incoming, streams)),
                ));
            }
            Ok(Err(failed)) => replay.after_http2(failed, link.failure()),
            Err(timeout) => timeout.into(),
        };
        match failed {
            // The fault of one stream.
            Failed::Final(ProxyError::HttpProtocol(_) | ProxyError::HttpRequest(_)) => {}
            // The connection is lost, or so silent that it may be: the next request gets a new one.
            _ => self.pool.forget(&streams),
        }
        Err(failed)
    }

    /// Waits for `sent` as long as something happens. One timer for a request: it is set again only
    /// when it goes off and the upload has moved meanwhile.
    async fn answer<T>(
        &self,
        upload: Option<&Upload>,
        mut sent: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, ProxyError> {
        let limit = self.route.timeout;
        let mut quiet_since = Instant::now();
        loop {
            if let Ok(answer) = timeout_at(after(quiet_since, limit), sent.as_mut()).await {
                return Ok(answer);
            }
            match upload.map(Upload::moved) {
                Some(moved) if moved > quiet_since => quiet_since = moved,
                _ => return Err(ProxyError::HttpResponseTimeout { limit }),
            }
        }
    }
}

/// How long a request waits until its connection is held to blame if its caller gives up.
pub(super) const IN_VAIN: Duration = Duration::from_secs(1);

/// A request that waits on a shared connection. Given up on, it takes the connection from the requests
/// to come: its target may have vanished without a word. Asking by PING would tell more, but servers of
/// gRPC close connections that ask more often than every five minutes.
struct Waiting<'a> {
    pool: &'a Pool,
    streams: &'a Rc<()>,
    since: Instant,
}

impl Waiting<'_> {
    /// There is an answer, or an error that says what is wrong.
    fn end(self) {
        std::mem::forget(self);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.since.elapsed() >= IN_VAIN {
            self.pool.forget(self.streams);
        }
    }
}

enum Connection {
    Http1(Client),
    Http2(Shared),
}
