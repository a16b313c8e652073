//! Targets: servers of HTTP, and scripts that say byte for byte what happens.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tunnel_common::drain::Drain;

use super::body::{AnyBody, full};
use super::socket::Socket;
use super::worker::Worker;

/// A target on a thread of its own. Dropping it ends it and fails if it panicked.
pub struct Origin {
    address: SocketAddr,
    worker: Worker<()>,
    scripts: Scripts,
}

type Scripts = Arc<Mutex<Vec<JoinHandle<()>>>>;

impl Origin {
    /// Serves HTTP/1.1 and h2c.
    pub fn http<H>(handle: H) -> Self
    where
        H: AsyncFn(Request<Incoming>) -> Response<AnyBody> + Send + 'static,
    {
        Self::start(async move |listener, drain, _| {
            let handle = Rc::new(handle);
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                drain.spawn(serve(stream, Rc::clone(&handle), drain.clone()));
            }
        })
    }

    /// Answers every request with the same text, once it has come whole.
    pub fn saying(text: &'static str) -> Self {
        Self::http(async move |request| {
            // A request that breaks off gets no answer anyway.
            let _ = request.into_body().collect().await;
            Response::new(full(text))
        })
    }

    /// The same behind TLS, with the certificate that is also returned.
    pub fn https(name: &str, text: &'static str) -> (Self, String) {
        let (acceptor, certificate) = acceptor(name);
        let origin = Self::start(async move |listener, drain, _| {
            let handle = Rc::new(async move |_| Response::new(full(text)));
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, handle) = (acceptor.clone(), Rc::clone(&handle));
                let executor = drain.clone();
                drain.spawn(async move {
                    // Whom the bridge does not trust, it leaves.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, handle, executor).await;
                    }
                });
            }
        });
        (origin, certificate)
    }

    /// Runs `script` for each connection, on a thread of its own.
    pub fn script(script: impl Fn(Socket) + Clone + Send + 'static) -> Self {
        Self::start(async move |listener, _, scripts| {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, stream) = (script.clone(), stream.into_std().unwrap());
                let thread = spawn(move || script(Socket::new(stream)));
                scripts.lock().unwrap().push(thread);
            }
        })
    }

    fn start<S>(serve: S) -> Self
    where
        S: AsyncFnOnce(tokio::net::TcpListener, Drain, Scripts) + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let scripts = Scripts::default();
        let running = Arc::clone(&scripts);
        let worker = Worker::start(&format!("origin {address}"), async move |stop| {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let drain = Drain::new();
            stop.run_until_cancelled(serve(listener, drain.clone(), running)).await;
            drain.finish(Duration::ZERO).await;
        });
        Self { address, worker, scripts }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.worker.finish();
        for script in self.scripts.lock().unwrap().drain(..) {
            script.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
    }
}

async fn serve<I, H>(io: I, handle: Rc<H>, executor: Drain)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: AsyncFn(Request<Incoming>) -> Response<AnyBody> + 'static,
{
    let service = service_fn(|request| {
        let handle = Rc::clone(&handle);
        async move { Ok::<_, Infallible>(handle(request).await) }
    });
    let builder = auto::Builder::new(executor);
    // How it ends is the bridge's business; the test looks at the other side.
    let _ = builder.serve_connection_with_upgrades(TokioIo::new(io), service).await;
}

/// A new self-signed certificate, and who shows it.
fn acceptor(name: &str) -> (TlsAcceptor, String) {
    let key = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let private = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private.into());
    (Arc::new(config.unwrap()).into(), key.cert.pem())
}
