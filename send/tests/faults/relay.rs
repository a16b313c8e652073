//! A wire that can be cut, be slow, or swallow what is sent, and that leads to any of several ends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{park_timeout, spawn};
use std::time::{Duration, Instant};

/// Passes on what comes, connection by connection, to the ends in turn.
#[derive(Clone)]
pub struct Relay(Arc<Shared>);

struct Shared {
    ends: Mutex<Vec<SocketAddr>>,
    next: AtomicUsize,
    /// How long each piece waits, in microseconds.
    delay: AtomicU64,
    /// Bytes per second each way; 0 is any number.
    rate: AtomicU64,
    open: Mutex<Vec<Arc<Joined>>>,
}

/// Two connections that were made one.
struct Joined {
    /// Who has dialled, and whom that was led to.
    sides: [TcpStream; 2],
    /// What comes from either goes nowhere.
    swallows: [AtomicBool; 2],
    over: AtomicBool,
}

impl Relay {
    /// Listens where the calling thread is.
    pub fn listen(address: SocketAddr, ends: &[SocketAddr]) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let relay = Self(Arc::new(Shared {
            ends: Mutex::new(ends.to_vec()),
            next: AtomicUsize::new(0),
            delay: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            open: Mutex::default(),
        }));
        let accepting = relay.clone();
        spawn(move || {
            for stream in listener.incoming() {
                let (stream, relay) = (stream.unwrap(), accepting.clone());
                spawn(move || relay.join(stream));
            }
        });
        relay
    }

    /// Where new connections lead from now on.
    pub fn lead_to(&self, ends: &[SocketAddr]) {
        *self.0.ends.lock().unwrap() = ends.to_vec();
    }

    /// Ends connections, as a reset would: all, or only the oldest.
    pub fn cut(&self, only_oldest: bool) -> usize {
        let open = self.open();
        let chosen = if only_oldest { &open[..open.len().min(1)] } else { &open[..] };
        for joined in chosen {
            for side in &joined.sides {
                let _ = side.shutdown(Shutdown::Both);
            }
        }
        chosen.len()
    }

    /// From now on the connections that are open carry nothing, and neither end hears of it.
    pub fn swallow(&self) -> usize {
        self.swallow_from(0);
        self.swallow_from(1)
    }

    /// The same for what comes from those who have dialled (0), or from those who were (1).
    pub fn swallow_from(&self, side: usize) -> usize {
        let open = self.open();
        open.iter().for_each(|joined| joined.swallows[side].store(true, Ordering::Relaxed));
        open.len()
    }

    /// From now on each piece waits so long, and no more than so many bytes a second pass each way.
    pub fn slow_down(&self, delay: Duration, rate: u64) {
        self.0.delay.store(delay.as_micros() as u64, Ordering::Relaxed);
        self.0.rate.store(rate, Ordering::Relaxed);
    }

    /// Holds a piece up as long as the wire is slow.
    fn hold(&self, len: usize) {
        let rate = self.0.rate.load(Ordering::Relaxed);
        let passing = (len as u64 * 1_000_000).checked_div(rate).unwrap_or_default();
        let until =
            Instant::now() + Duration::from_micros(self.0.delay.load(Ordering::Relaxed) + passing);
        while Instant::now() < until {
            park_timeout(until - Instant::now());
        }
    }

    fn open(&self) -> Vec<Arc<Joined>> {
        let mut open = self.0.open.lock().unwrap();
        open.retain(|joined| !joined.over.load(Ordering::Relaxed));
        open.clone()
    }

    /// The first end, in turn, that takes a connection.
    fn connect(&self) -> Option<TcpStream> {
        let ends = self.0.ends.lock().unwrap().clone();
        let first = self.0.next.fetch_add(1, Ordering::Relaxed);
        (0..ends.len()).find_map(|step| {
            let end = ends[(first + step) % ends.len()];
            TcpStream::connect_timeout(&end, Duration::from_secs(1)).ok()
        })
    }

    fn join(&self, from: TcpStream) {
        let Some(to) = self.connect() else { return };
        let joined = Arc::new(Joined {
            sides: [from, to],
            swallows: Default::default(),
            over: AtomicBool::default(),
        });
        self.0.open.lock().unwrap().push(Arc::clone(&joined));
        for side in &joined.sides {
            side.set_nodelay(true).unwrap();
        }
        let (back, relay) = (Arc::clone(&joined), self.clone());
        let backward = spawn(move || back.pump(1, &relay));
        joined.pump(0, self);
        let _ = backward.join();
        joined.over.store(true, Ordering::Relaxed);
    }
}

impl Joined {
    /// Passes on what one side sends, until it ends.
    fn pump(&self, side: usize, relay: &Relay) {
        let (mut from, mut to) = (&self.sides[side], &self.sides[1 - side]);
        let mut buffer = [0; 64 * 1024];
        loop {
            let len = from.read(&mut buffer).unwrap_or(0);
            let swallows = self.swallows[side].load(Ordering::Relaxed);
            if len == 0 {
                if !swallows {
                    let _ = to.shutdown(Shutdown::Write);
                }
                return;
            }
            relay.hold(len);
            if !swallows && to.write_all(&buffer[..len]).is_err() {
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}
