//! A TCP relay that is a long path: what comes in goes out a fixed time later, in both directions,
//! and no faster than a rate, to measure tunnels over a distance on one machine.
//!
//! `long-path LISTEN=TARGET MILLISECONDS [MEGABIT]` delays each way by so many milliseconds and
//! carries so many million bits a second per connection and direction, or as many as it can. What
//! is under way is held in memory, at most [`MAX_UNDER_WAY`] per connection and direction.
#![allow(clippy::disallowed_methods, reason = "it is killed, never drained")]

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::LocalRuntime;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

/// Bytes of one direction that may be under way: 200 ms at more than 2.5 Gbit/s.
const MAX_UNDER_WAY: usize = 64 << 20;
/// The most that is read at once.
const CHUNK: usize = 64 << 10;

fn main() -> anyhow::Result<()> {
    LocalRuntime::new()?.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (addresses, delay, rate) = match arguments.as_slice() {
        [addresses, delay] => (addresses, delay, None),
        [addresses, delay, rate] => (addresses, delay, Some(rate)),
        _ => anyhow::bail!("usage: long-path LISTEN=TARGET MILLISECONDS [MEGABIT]"),
    };
    let (listen, target) = addresses.split_once('=').context("expected LISTEN=TARGET")?;
    let delay = Duration::from_millis(delay.parse()?);
    let bytes_per_second = match rate {
        Some(rate) => rate.parse::<f64>()? * 1e6 / 8.0,
        None => f64::INFINITY,
    };

    let listener = TcpListener::bind(listen).await?;
    loop {
        let (near, _) = listener.accept().await?;
        near.set_nodelay(true)?;
        let Ok(far) = TcpStream::connect(target).await else { continue };
        far.set_nodelay(true)?;
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        let path = || Path { delay, bytes_per_second, ..Path::default() };
        spawn_local(path().carry(near_read, far_write));
        spawn_local(path().carry(far_read, near_write));
    }
}

/// One direction of a connection.
#[derive(Default)]
struct Path {
    delay: Duration,
    bytes_per_second: f64,
    /// What is under way, with the time at which it arrives.
    under_way: VecDeque<(Instant, Bytes)>,
    /// The size of `under_way`, in bytes.
    size: usize,
    /// When the path can take the next byte.
    free: Option<Instant>,
    /// Nothing more comes in.
    ended: bool,
}

impl Path {
    /// Ends when either side does; dropping `to` passes the end on.
    async fn carry(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = BytesMut::new();
        loop {
            let arrival = self.under_way.front().map(|(arrival, _)| *arrival);
            if self.ended && arrival.is_none() {
                return;
            }
            buffer.reserve(CHUNK);
            tokio::select! {
                biased;
                () = sleep_until(arrival.unwrap_or_else(Instant::now)), if arrival.is_some() => {
                    let Some((_, data)) = self.under_way.pop_front() else { return };
                    self.size -= data.len();
                    if to.write_all(&data).await.is_err() {
                        return;
                    }
                }
                read = from.read_buf(&mut buffer), if !self.ended && self.size < MAX_UNDER_WAY => {
                    match read {
                        Ok(1..) => self.admit(buffer.split().freeze()),
                        _ => self.ended = true,
                    }
                }
            }
        }
    }

    fn admit(&mut self, data: Bytes) {
        let now = Instant::now();
        let begin = self.free.map_or(now, |free| free.max(now));
        let end = begin + Duration::from_secs_f64(data.len() as f64 / self.bytes_per_second);
        self.free = Some(end);
        self.size += data.len();
        self.under_way.push_back((end + self.delay, data));
    }
}
