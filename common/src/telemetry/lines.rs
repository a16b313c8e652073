//! Lines on their way to an output that may be stuck: a bounded queue, and a thread that empties it.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How many lines may wait, about 256 KiB of usual ones; further ones are lost and counted.
pub(super) const MAX_WAITING: usize = 1024;

/// How long the end of the process waits for what still waits to be written.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// Takes lines, and never waits for them to be written. Clones share the queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    /// The thread is at a line that waits no more.
    is_writing: bool,
    lost: usize,
}

impl Lines {
    /// Starts a thread that writes lines to `out`; it ends with the process.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Self::default();
        let queue = Arc::clone(&lines.0);
        thread::Builder::new().name("log".to_owned()).spawn(move || queue.empty_into(out))?;
        Ok(lines)
    }

    /// How many lines found no room, or could not be written.
    pub(super) fn lost(&self) -> usize {
        self.0.lock().lost
    }

    /// Waits until all is written, for a second at most.
    pub(super) fn finish(&self) {
        let is_busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        // Written or not, this is the end.
        let _ = self.0.changed.wait_timeout_while(self.0.lock(), LAST_CHANCE, is_busy);
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn empty_into(&self, mut out: impl Write) {
        let mut state = self.lock();
        loop {
            let Some(line) = state.waiting.pop_front() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.is_writing = true;
            drop(state);
            let written = out.write_all(&line).and_then(|()| out.flush());
            state = self.lock();
            state.is_writing = false;
            state.lost += usize::from(written.is_err());
            self.changed.notify_all();
        }
    }
}

/// Each write is a line.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        match state.waiting.len() < MAX_WAITING {
            true => state.waiting.push_back(line.to_vec()),
            false => state.lost += 1,
        }
        drop(state);
        self.0.changed.notify_all();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Writes a line when it is let, and passes it on.
    struct Output(Receiver<io::Result<()>>, SyncSender<Vec<u8>>);

    impl Write for Output {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.recv().unwrap_or(Ok(()))?;
            let _ = self.1.send(line.to_vec());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start() -> (Lines, SyncSender<io::Result<()>>, Receiver<Vec<u8>>) {
        let (allow, allowed) = sync_channel(0);
        let (written, seen) = sync_channel(MAX_WAITING);
        (Lines::start(Output(allowed, written)).unwrap(), allow, seen)
    }

    #[test]
    fn a_stuck_output_loses_lines_and_blocks_nobody() {
        let (mut lines, _stuck, _) = start();
        for _ in 0..MAX_WAITING + 10 {
            lines.write_all(b"line\n").unwrap();
        }
        // One line is with the thread, if that was quick enough to take it.
        assert!([9, 10].contains(&lines.lost()), "{}", lines.lost());
        lines.finish();
    }

    #[test]
    fn lines_are_written_in_their_order_before_the_end() {
        let (mut lines, allow, seen) = start();
        drop(allow);
        for number in 0..100 {
            lines.write_all(&[number]).unwrap();
        }
        lines.finish();
        assert!(seen.try_iter().eq((0..100).map(|number| vec![number])));
        assert_eq!(lines.lost(), 0);
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let (mut lines, allow, _) = start();
        lines.write_all(b"line\n").unwrap();
        allow.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        lines.finish();
        assert_eq!(lines.lost(), 1);
    }
}
