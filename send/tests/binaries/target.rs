//! Targets on threads: no runtime, so that they cost the machine little beside the processes.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::spawn;

use crate::harness::reply;

/// Serves each connection with `serve`, request by request, until the test process ends.
pub fn target(serve: impl Fn(&mut BufReader<TcpStream>) + Clone + Send + 'static) -> SocketAddr {
    target_by_path(move |stream, _| serve(stream))
}

/// The same, where what is served depends on the target of the request.
pub fn target_by_path(
    serve: impl Fn(&mut BufReader<TcpStream>, &str) + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        for stream in listener.incoming() {
            let (stream, serve) = (stream.unwrap(), serve.clone());
            spawn(move || {
                stream.set_nodelay(true).unwrap();
                let mut stream = BufReader::new(stream);
                // The bridge may close or break its connections as it likes.
                while stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
                    let first = reply::line(&mut stream);
                    reply::fields(&mut stream);
                    serve(&mut stream, first.split(' ').nth(1).unwrap_or_default());
                }
            });
        }
    });
    address
}
