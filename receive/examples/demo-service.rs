//! A small web service to put behind the bridge: the albums API of Go's tutorial "Developing a
//! RESTful API with Go and Gin", over HTTP/1.1 and HTTP/2 without TLS.
//!
//! `demo-service ADDRESS [NAME]` prints the address that it listens on as its only line, and ends
//! with SIGTERM or SIGINT. NAME is the `Server` of its answers.

use std::convert::Infallible;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, SERVER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use serde::{Deserialize, Serialize};
use serde_json::ser::{PrettyFormatter, Serializer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// The largest request body, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// How many albums there can be.
const MAX_ALBUMS: usize = 1000;
/// How many callers there can be at once; further ones wait.
const MAX_CONNECTIONS: usize = 256;
/// How long a request may take to arrive: its head, and then its body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "demo-service: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().context("usage: demo-service ADDRESS [NAME]")?;
    let name = args.next().unwrap_or_else(|| "demo-service".to_owned());
    let service = Service {
        name: name.parse().with_context(|| format!("{name:?} is not a name for `Server`"))?,
        albums: Arc::new(Mutex::new(Album::first_three())),
    };

    let mut terminate = signal(SignalKind::terminate())?;
    let listener =
        TcpListener::bind(&address).await.with_context(|| format!("cannot listen on {address}"))?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    tokio::select! {
        result = service.listen(&listener) => result,
        _ = terminate.recv() => Ok(()),
        result = tokio::signal::ctrl_c() => Ok(result?),
    }
}

#[derive(Clone)]
struct Service {
    name: HeaderValue,
    albums: Arc<Mutex<Vec<Album>>>,
}

impl Service {
    /// Serves until it is dropped, which ends the connections.
    async fn listen(&self, listener: &TcpListener) -> anyhow::Result<()> {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.context("cannot accept")?;
            connections.spawn(self.clone().serve_connection(stream));
            while connections.try_join_next().is_some() {}
            if connections.len() == MAX_CONNECTIONS {
                connections.join_next().await;
            }
        }
    }

    async fn serve_connection(self, stream: TcpStream) {
        let service = service_fn(|request| {
            let service = self.clone();
            async move { Ok::<_, Infallible>(service.answer(request).await) }
        });
        let mut server = Builder::new(TokioExecutor::new());
        server.http1().timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT);
        // Fails when the caller breaks HTTP or hangs up: nothing is left to be said to it.
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let mut response = match (request.method(), path.as_str()) {
            (&Method::GET, "/albums") => json(StatusCode::OK, &*self.albums()),
            (&Method::POST, "/albums") => self.add(request).await,
            (&Method::GET, path) if let Some(id) = path.strip_prefix("/albums/") => self.album(id),
            _ => {
                message(StatusCode::NOT_FOUND, "there are GET and POST /albums, and GET /albums/ID")
            }
        };
        response.headers_mut().insert(SERVER, self.name.clone());
        response
    }

    fn album(&self, id: &str) -> Response<Full<Bytes>> {
        match self.albums().iter().find(|album| album.id == id) {
            Some(album) => json(StatusCode::OK, album),
            None => message(StatusCode::NOT_FOUND, "album not found"),
        }
    }

    async fn add(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let body = Limited::new(request.into_body(), MAX_BODY).collect();
        let body = match tokio::time::timeout(REQUEST_TIMEOUT, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => return message(StatusCode::PAYLOAD_TOO_LARGE, &error.to_string()),
            Err(_) => return message(StatusCode::REQUEST_TIMEOUT, "the body is too slow"),
        };
        let album: Album = match serde_json::from_slice(&body) {
            Ok(album) => album,
            Err(error) => return message(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let mut albums = self.albums();
        if albums.len() == MAX_ALBUMS {
            return message(StatusCode::INSUFFICIENT_STORAGE, "there are too many albums");
        }
        albums.push(album.clone());
        json(StatusCode::CREATED, &album)
    }

    fn albums(&self) -> MutexGuard<'_, Vec<Album>> {
        self.albums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A record; like in the tutorial, fields that are missing are empty.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
struct Album {
    id: String,
    title: String,
    artist: String,
    price: f64,
}

impl Album {
    fn first_three() -> Vec<Self> {
        [
            ("1", "Blue Train", "John Coltrane", 56.99),
            ("2", "Jeru", "Gerry Mulligan", 17.99),
            ("3", "Sarah Vaughan and Clifford Brown", "Sarah Vaughan", 39.99),
        ]
        .map(|(id, title, artist, price)| Self {
            id: id.to_owned(),
            title: title.to_owned(),
            artist: artist.to_owned(),
            price,
        })
        .into()
    }
}

fn message(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    json(status, &serde_json::json!({ "message": text }))
}

/// Indents by four spaces, as Gin's `IndentedJSON` does.
fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let mut body = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut body, PrettyFormatter::with_indent(b"    "));
    let written = value.serialize(&mut serializer);
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = match written {
        Ok(()) => status,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}
