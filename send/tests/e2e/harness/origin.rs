//! Targets: servers of HTTP, and scripts that say byte for byte what happens.

use std::convert::Infallible;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tunnel_common::drain::Drain;

use super::reply;
use super::wait::LIMIT;
use super::worker::Worker;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

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
        H: AsyncFn(Request<Incoming>) -> Response<Body> + Send + 'static,
    {
        Self::start("origin", Scripts::default(), async move |listener, drain| {
            let (listener, handle) = (tokio_listener(listener), Rc::new(handle));
            while let Ok((stream, _)) = listener.accept().await {
                let (handle, executor) = (Rc::clone(&handle), drain.clone());
                drain.spawn(async move {
                    stream.set_nodelay(true).unwrap();
                    let service = service_fn(|request| {
                        let handle = Rc::clone(&handle);
                        async move { Ok::<_, Infallible>(handle(request).await) }
                    });
                    let builder = auto::Builder::new(executor);
                    // How it ends is the bridge's business; the test looks at the other side.
                    let _ =
                        builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                });
            }
        })
    }

    /// Answers every request with the same text.
    pub fn saying(text: &'static str) -> Self {
        Self::http(async move |_| Response::new(super::full(text)))
    }

    /// Runs `script` for each connection, on a thread of its own, and tells it how many came
    /// before.
    pub fn script(script: impl Fn(Socket, usize) + Clone + Send + 'static) -> Self {
        let scripts = Scripts::default();
        let running = Arc::clone(&scripts);
        Self::start("script", scripts, async move |listener, _| {
            let listener = tokio_listener(listener);
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, stream) = (script.clone(), stream.into_std().unwrap());
                let thread = spawn(move || script(Socket::new(stream), number));
                running.lock().unwrap().push(thread);
            }
        })
    }

    fn start<S>(kind: &str, scripts: Scripts, serve: S) -> Self
    where
        S: AsyncFnOnce(TcpListener, Drain) + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let worker = Worker::start(&format!("{kind} {address}"), async move |stop| {
            let drain = Drain::new();
            stop.run_until_cancelled(serve(listener, drain.clone())).await;
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

fn tokio_listener(listener: TcpListener) -> tokio::net::TcpListener {
    listener.set_nonblocking(true).unwrap();
    tokio::net::TcpListener::from_std(listener).unwrap()
}

/// A script's connection.
pub struct Socket(BufReader<TcpStream>);

impl Socket {
    fn new(stream: TcpStream) -> Self {
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        Self(BufReader::new(stream))
    }

    /// The next request's line and fields; `None` when the bridge has closed the connection.
    pub fn head(&mut self) -> Option<(String, Vec<(String, String)>)> {
        let line = reply::line(&mut self.0);
        (!line.is_empty()).then(|| (line, reply::fields(&mut self.0)))
    }

    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        reply::chunk(&mut self.0)
    }

    pub fn trailers(&mut self) -> Vec<(String, String)> {
        reply::fields(&mut self.0)
    }

    pub fn read_exact(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_ref().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends until the other end is gone or takes nothing for [`LIMIT`]. Says which.
    pub fn send_until_gone(&mut self, bytes: &[u8]) -> std::io::ErrorKind {
        loop {
            if let Err(error) = self.0.get_ref().write_all(bytes) {
                return error.kind();
            }
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        self.0.get_ref().shutdown(Shutdown::Write).unwrap();
    }

    /// What comes until the other end says that nothing more will; an error counts as that.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
        rest
    }
}
