//! Calls to targets: connections are kept and reused, stale ones are noticed, and every failure has
//! its own error.
//!
//! All of it lives on the data thread. Limits: 2 tries for a request, 4 where the target says that it has
//! not begun it, 256 free connections for a target, each for 4 s, as many shared ones as its limit of
//! streams asks for where it speaks HTTP/2, `connectTimeout` to open one, `timeout` until the answer
//! begins, 256 fields and 64 KiB for its head, 128 KiB in HTTP/2.

mod body;
mod call;
mod connect;
mod failure;
mod lookup;
mod pool;
mod replay;
mod rewrite;
#[cfg(test)]
mod tests;
mod tls;
mod upload;

use std::error::Error;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tokio::time::{Instant, timeout_at};
use tunnel_common::config::Route;
use tunnel_common::drain::Drain;
use tunnel_common::error::ProxyError;
use tunnel_common::fields::Name;
use tunnel_common::headers::check_framing;
use tunnel_common::message::{RequestHead, Response};

pub use self::body::UpstreamBody;
use self::call::Call;
pub use self::call::UpstreamAnswer;
use self::connect::Dialler;
use self::pool::{IDLE_LIMIT, Pools};
use self::upload::RequestBody;

/// All upstream connections of the process.
pub struct Upstreams {
    dialler: Dialler,
    pools: Rc<Pools>,
}

impl Upstreams {
    /// No connections yet. They run in `drain`: when it is asked to finish, free ones are closed at
    /// once and the others after their exchange. Needs a runtime with local tasks.
    pub fn new(drain: Drain) -> Self {
        let pools = Rc::new(Pools::default());
        drain.spawn(sweep(drain.clone(), Rc::downgrade(&pools)));
        Self { dialler: Dialler::new(drain), pools }
    }

    /// Sends a request to the target of `route` and waits for the head of the answer.
    ///
    /// Its header is already fit to be forwarded
    /// ([`prepare_request`](tunnel_common::headers::prepare_request)), with an offered `Upgrade`
    /// restored; this adds only what the connection needs. A 101 to what was not offered is an error.
    ///
    /// `route.timeout` bounds how long nothing happens before the answer begins: neither its head
    /// nor progress of the upload. An idempotent request is tried a second time, on a new connection, if
    /// its own is lost before any answer; any is tried up to four times if it was not written or the
    /// target says over HTTP/2 that it has not begun it; but not where more than 16 KiB of its body are
    /// gone. Dropping the future aborts the request.
    pub async fn send<B>(
        &self,
        route: &Route,
        head: &mut RequestHead,
        body: B,
        inform: &dyn Fn(&Response<()>),
    ) -> Result<UpstreamAnswer, ProxyError>
    where
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        rewrite::aim(head, route)?;
        check_length(head, &body)?;
        let pool = self.pools.of(&route.target);
        let call = Call { route, pool, dialler: &self.dialler, inform };
        call.run(head, RequestBody::new(body)).await
    }
}

/// Refuses a request that announces more than it has: the length would go out without the bytes, and
/// the target would take the next request on the connection for them.
fn check_length(head: &RequestHead, body: &impl Body) -> Result<(), ProxyError> {
    check_framing(head)?;
    match head.fields.get(Name::ContentLength) {
        Some(length) if body.is_end_stream() && length.iter().any(|b| *b != b'0') => {
            Err(ProxyError::HttpRequest("the body is shorter than its Content-Length".into()))
        }
        _ => Ok(()),
    }
}

/// Closes connections that nobody uses, and all free ones when the drain is asked.
async fn sweep(drain: Drain, pools: Weak<Pools>) {
    loop {
        let asked = timeout_at(after(Instant::now(), IDLE_LIMIT), drain.asked()).await.is_ok();
        let Some(pools) = pools.upgrade() else { return };
        if asked {
            return pools.close();
        }
        pools.sweep();
    }
}

/// `limit` after `start`, or in 30 years where that is past what the clock can hold.
fn after(start: Instant, limit: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    start + limit.min(FAR)
}
