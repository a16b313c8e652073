//! A caller that writes its own bytes.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::reply::{self, Reply};
use super::wait::LIMIT;

/// A connection to a mapping.
pub struct Caller(BufReader<TcpStream>);

impl Caller {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, LIMIT).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        Self(BufReader::new(stream))
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_ref().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a GET with these further fields.
    pub fn send_get(&mut self, path: &str, fields: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: caller\r\n{fields}\r\n"));
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        self.0.get_ref().shutdown(Shutdown::Write).unwrap();
    }

    /// The next answer, to anything but HEAD.
    pub fn reply(&mut self) -> Reply {
        let mut reply = self.head();
        reply.read_body(&mut self.0);
        reply
    }

    /// The body that belongs to a head that was read.
    #[allow(dead_code, reason = "not every test binary reads bodies apart")]
    pub fn body(&mut self, reply: &mut Reply) {
        reply.read_body(&mut self.0);
    }

    /// Whether nothing has come that was not read.
    #[allow(dead_code, reason = "not every test binary waits for nothing")]
    pub fn is_silent(&self) -> bool {
        let stream = self.0.get_ref();
        stream.set_nonblocking(true).unwrap();
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// The next head of an answer.
    pub fn head(&mut self) -> Reply {
        Reply::read_head(&mut self.0)
    }

    /// The next chunk of a chunked body.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        reply::chunk(&mut self.0)
    }

    /// The trailers after the last chunk.
    pub fn trailers(&mut self) -> Vec<(String, String)> {
        reply::fields(&mut self.0)
    }

    pub fn read_exact(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The failure that the connection ends with, and not the other end's close.
    #[allow(dead_code, reason = "not every test binary tells them apart")]
    pub fn end(&mut self) -> Option<ErrorKind> {
        self.0.read_to_end(&mut Vec::new()).err().map(|error| error.kind())
    }

    /// What comes until the other end closes; a reset counts as a close.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        rest
    }
}

/// The answer to a GET on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Reply {
    let mut caller = Caller::connect(address);
    caller.send_get(path, "Connection: close\r\n");
    caller.reply()
}
