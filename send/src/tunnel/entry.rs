//! The entry to a tunnel that others carry: a port that some `sshd` forwards to `tunnel-receive`.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tunnel_common::dial::dial;
use tunnel_common::retry::Retry;
use tunnel_common::tunnel::{Acceptor, ByteStream, HostPort, InvalidTunnelUrl, Peer};

/// Where a tunnel is entered: `http://HOST:PORT`, as what is there also serves plain HTTP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntryUrl(HostPort);

impl FromStr for EntryUrl {
    type Err = InvalidTunnelUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = text.strip_prefix("http://").ok_or("write it as http://HOST:PORT")?;
        let place: HostPort = place.strip_suffix('/').unwrap_or(place).parse()?;
        match place.port {
            0 => Err("port 0 cannot be connected to".into()),
            _ => Ok(Self(place)),
        }
    }
}

impl fmt::Display for EntryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// Keeps one tunnel up through the entry. What carries it proves nothing of the other end, so the
/// entry must be a place that only the right one can forward.
pub struct EntryAcceptor {
    place: HostPort,
    retry: Retry,
    current: Option<Current>,
    /// When to dial next.
    next: Instant,
}

/// The tunnel that was handed out last.
struct Current {
    begun: Instant,
    /// Closed when the tunnel is over.
    said: watch::Receiver<Said>,
}

/// What has come from the entry: a tunnel begins with 0, and nothing else does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Said {
    Nothing,
    Tunnel,
    Else,
}

impl EntryAcceptor {
    /// Dials when asked for a tunnel, and not again until that is over.
    pub fn new(url: &EntryUrl) -> Self {
        Self {
            place: url.0.clone(),
            retry: Retry::new(format!("entering the tunnel at {url}")),
            current: None,
            next: Instant::now(),
        }
    }

    /// Takes note of how the last tunnel went.
    fn judge(&mut self, Current { begun, said }: &Current) {
        let pause = match *said.borrow() {
            Said::Tunnel => self.retry.ended(begun.elapsed()),
            Said::Nothing => self.retry.failed(
                "the port answers, but no tunnel-receive behind it does: is it there, and is no \
                 other tunnel-send using this forward?",
            ),
            Said::Else => self.retry.failed(
                "what answers there is no tunnel-receive: forward the port to its --listen",
            ),
        };
        self.next = Instant::now() + pause;
    }
}

impl Acceptor for EntryAcceptor {
    type Io = EntryStream;

    async fn accept(&mut self) -> (EntryStream, Peer) {
        loop {
            if let Some(current) = &mut self.current {
                while current.said.changed().await.is_ok() {
                    if *current.said.borrow() == Said::Tunnel {
                        self.retry.worked();
                    }
                }
            }
            if let Some(current) = self.current.take() {
                self.judge(&current);
            }
            sleep_until(self.next).await;
            match dial(&self.place).await {
                Ok((tcp, address)) => {
                    let (saying, said) = watch::channel(Said::Nothing);
                    self.current = Some(Current { begun: Instant::now(), said });
                    let peer = Peer { address: address.to_string(), names: Vec::new() };
                    return (EntryStream { tcp, is_silent: true, saying }, peer);
                }
                Err(error) => self.next = Instant::now() + self.retry.failed(&error.to_string()),
            }
        }
    }
}

/// A connection to the entry.
pub struct EntryStream {
    tcp: TcpStream,
    is_silent: bool,
    /// For the acceptor, which also learns of the stream's drop.
    saying: watch::Sender<Said>,
}

impl AsyncRead for EntryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        if self.is_silent
            && let Some(first) = buf.filled().get(before)
        {
            self.is_silent = false;
            self.saying.send_replace(if *first == 0 { Said::Tunnel } else { Said::Else });
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for EntryStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl ByteStream for EntryStream {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_host_and_a_port() {
        for text in ["http://a.example:8079", "http://[::1]:8079"] {
            assert_eq!(text.parse::<EntryUrl>().unwrap().to_string(), text);
        }
        assert!("http://a:8079/".parse::<EntryUrl>().is_ok());
        for text in ["a:1", "https://a:1", "http://a", "http://a:0", "http://a:1/x", "http://u@a:1"]
        {
            assert!(text.parse::<EntryUrl>().is_err(), "{text}");
        }
    }
}
