//! A relay in the path of a tunnel, which can be cut or made a black hole.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

/// Relays connections as long as the test runs.
pub struct Relay(Arc<Mutex<Vec<Line>>>);

/// One connection: both its ends, and whether all that comes is swallowed.
struct Line {
    ends: [TcpStream; 2],
    hole: Arc<AtomicBool>,
}

impl Relay {
    pub fn start(listen: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(listen).unwrap();
        let relay = Self(Arc::default());
        let lines = Arc::clone(&relay.0);
        spawn(move || {
            for incoming in listener.incoming() {
                let Ok(outgoing) = TcpStream::connect(to) else { continue };
                let line = Line::start([incoming.unwrap(), outgoing]);
                lines.lock().unwrap().push(line);
            }
        });
        relay
    }

    /// Breaks all connections that there are.
    pub fn cut(&self) {
        for line in self.0.lock().unwrap().drain(..) {
            // One that has ended needs no cut.
            line.ends.iter().for_each(|end| drop(end.shutdown(Shutdown::Both)));
        }
    }

    /// Lets nothing more through the connections that there are, and does not end them either.
    pub fn swallow(&self) {
        for line in self.0.lock().unwrap().iter() {
            line.hole.store(true, Ordering::SeqCst);
        }
    }
}

impl Line {
    fn start(ends: [TcpStream; 2]) -> Self {
        let hole = Arc::new(AtomicBool::new(false));
        let clone = |end: &TcpStream| end.try_clone().unwrap();
        let [a, b] = &ends;
        for (mut from, mut to) in [(clone(a), clone(b)), (clone(b), clone(a))] {
            let hole = Arc::clone(&hole);
            from.set_nodelay(true).unwrap();
            spawn(move || {
                let mut block = [0; 64 * 1024];
                while let Ok(len @ 1..) = from.read(&mut block) {
                    if !hole.load(Ordering::SeqCst) && to.write_all(&block[..len]).is_err() {
                        break;
                    }
                }
                if !hole.load(Ordering::SeqCst) {
                    let _ = to.shutdown(Shutdown::Write);
                }
            });
        }
        Self { ends, hole }
    }
}
