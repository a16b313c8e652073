//! The connection of a scripted target.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::reply;
use super::wait::LIMIT;

/// A script's connection.
pub struct Socket(BufReader<TcpStream>);

impl Socket {
    pub fn new(stream: TcpStream) -> Self {
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
