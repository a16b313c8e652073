//! The callers of one mapping: accepted, counted, served.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;
use tunnel_common::drain::Drain;
use tunnel_common::edge::{self, CallerTls, Limits, Listener};
use tunnel_common::headers::Address;
use tunnel_common::http1::Stream;
use tunnel_common::metrics::Unfinished;

use crate::forward::{Caller, Forward, Mapping, ReplyBody};
use crate::metrics::{Counted, Metrics};

/// How long a TLS handshake may still take when the drain is asked.
const HANDSHAKE_END: Duration = Duration::from_secs(1);

/// Serves whoever connects to a mapping's port.
pub(crate) struct Callers {
    mapping: Rc<Mapping>,
    forward: Rc<Forward>,
    metrics: Metrics,
    limits: Limits,
    drain: Drain,
}

impl Callers {
    pub(crate) fn new(
        mapping: Rc<Mapping>,
        forward: Rc<Forward>,
        metrics: Metrics,
        limits: Limits,
        drain: Drain,
    ) -> Self {
        Self { mapping, forward, metrics, limits, drain }
    }

    /// Accepts until the drain is asked.
    pub(crate) async fn serve(self: Rc<Self>, listener: Listener) {
        let name = self.mapping.route.borrow().name.clone();
        let mut asked = pin!(self.drain.asked());
        loop {
            let (stream, peer, place) = tokio::select! {
                () = &mut asked => return,
                accepted = listener.accept(&name) => accepted,
            };
            let held = (Counted::new(&self.metrics.connections), place);
            self.drain.spawn(Rc::clone(&self).connection(stream, peer, held));
        }
    }

    /// Serves a connection, and keeps `held` for as long. An async fn would keep its arguments twice, for
    /// each idle caller.
    fn connection(
        self: Rc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        held: impl Sized + 'static,
    ) -> impl Future<Output = ()> + 'static {
        let mut caller = Caller { address: Address::from(peer.ip()), tls: false };
        async move {
            let Self { mapping, forward, metrics, limits, drain, .. } = &*self;
            let unfinished = Unfinished::new(&metrics.cut);
            let tls = mapping.tls.borrow().clone();
            caller.tls = tls.is_some();
            let stream = match tls {
                None => Stream::Plain(stream),
                Some(tls) => match Box::pin(shake_hands(&tls, stream, limits, drain)).await {
                    Ok(stream) => stream,
                    Err(error) => {
                        tracing::debug!(%peer, %error, "no TLS with a caller");
                        return unfinished.ended();
                    }
                },
            };
            let call =
                |head, body| Rc::clone(forward).call(Rc::clone(mapping), &caller, head, body);
            let refuse = |error: &_| {
                let reply = mapping.refuse(error, false);
                mapping.metrics.answered(reply.status);
                reply.map(ReplyBody::from)
            };
            edge::serve(stream, call, refuse, limits, drain).await;
            unfinished.ended();
            drop(held);
        }
    }
}

/// A caller that is slow to shake hands does not hold up the end.
async fn shake_hands(
    tls: &CallerTls,
    stream: TcpStream,
    limits: &Limits,
    drain: &Drain,
) -> io::Result<Stream> {
    let late = async {
        drain.asked().await;
        sleep(HANDSHAKE_END).await;
    };
    tokio::select! {
        shaken = tls.accept(stream, limits.head_timeout) => shaken,
        () = late => Err(io::ErrorKind::TimedOut.into()),
    }
}
