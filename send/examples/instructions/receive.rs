//! `tunnel-receive`: frames in, a request's bytes out; the answer's bytes in, frames out.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::LocalRuntime;
use tokio::sync::watch;
use tunnel_common::config::Config;
use tunnel_common::drain::Drain;
use tunnel_common::http1::benching::RESPONSE;
use tunnel_common::tunnel::{Hello, Peer};
use tunnel_receive::forward::Forward;
use tunnel_receive::metrics::Metrics;
use tunnel_receive::sessions::Sessions;
use tunnel_receive::upstream::Upstreams;

use super::far_end::{self, FarEnd};
use super::{BODY, WARM_UP, quiet};

/// The end, and the far end of its tunnel.
pub(super) struct ReceiveEnd {
    runtime: LocalRuntime,
    far_end: FarEnd,
    /// The head of each request.
    head: Vec<u8>,
    next_stream: Cell<u32>,
}

impl ReceiveEnd {
    /// An end that has served some requests.
    pub(super) fn warm() -> Self {
        let runtime = LocalRuntime::new().expect("a runtime");
        let far_end = FarEnd::asking();
        runtime.block_on(start(far_end.clone()));
        let end = Self { runtime, far_end, head: request(), next_stream: Cell::new(1) };
        end.requests(WARM_UP);
        end
    }

    /// Sends requests, one after the other.
    pub(super) fn requests(&self, count: usize) {
        self.runtime.block_on(async {
            for _ in 0..count {
                let stream = self.next_stream.get();
                self.next_stream.set(stream + 2);
                self.far_end.ask(stream, &self.head).await;
            }
        });
    }
}

/// What `tunnel-send` makes of the request that its own benchmark sends.
fn request() -> Vec<u8> {
    let fields = [
        ("host", "albums.example:8050"),
        ("user-agent", "shop/3.14 (linux)"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, br"),
        ("authorization", "Bearer 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"),
        ("cookie", "session=2c26b46b68ffc68ff99b453c1d304134"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("forwarded", "for=127.0.0.1;host=\"albums.example:8050\";proto=http"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "albums.example:8050"),
        ("via", "1.1 isthmus"),
        ("x-request-id", "70c5a1d09f86d081-2a"),
        ("x-proxy-condition", "8050"),
    ];
    far_end::get("/albums/42?fields=title,artist", &fields)
}

async fn start(far_end: FarEnd) {
    let (drain, metrics) = (Drain::new(), Metrics::default());
    let target = serve_target(&drain).await;
    let config = Config::parse(
        &format!(r#"{{"data":[{{"port":8050,"remoteIP":"http://127.0.0.1:{target}"}}]}}"#),
        Path::new("config.json"),
    );
    let (_, config) = watch::channel(Arc::new(config.expect("a good config")));
    let upstreams = Rc::new(Upstreams::new(drain.clone()));
    let forward = Rc::new(Forward::new(config, upstreams, metrics.clone()));
    let sessions = Sessions::new(forward, quiet(), Hello::default(), None, metrics, drain.clone());
    drain.spawn(async move {
        let session = sessions.start(far_end, Peer::default(), 1, false);
        let end = sessions.serve(&session).await;
        panic!("the tunnel ended: {end}");
    });
}

/// A target that knows one answer. Returns its port.
async fn serve_target(drain: &Drain) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    drain.spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = [0; 2048];
        let answer = [RESPONSE, BODY].concat();
        loop {
            let mut len = 0;
            while !request[..len].ends_with(b"\r\n\r\n") {
                match stream.read(&mut request[len..]).await {
                    Ok(more @ 1..) => len += more,
                    end => panic!("{end:?} after {}", request[..len].escape_ascii()),
                }
            }
            stream.write_all(&answer).await.expect("an end that reads");
        }
    });
    port
}
