//! Panics of helper threads, which fail the test that they belong to. A runtime keeps a panic of
//! one of its tasks to itself, so the panic hook is where they are seen.

use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;

static PANICKED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Remembers from now on which threads panicked.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let show = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            show(panic);
            panicked().extend(thread::current().name().map(str::to_owned));
        }));
    });
}

/// Fails if anything on the thread `name` panicked, or on a bridge's control thread.
pub fn assert_none(name: &str) {
    for thread in panicked().iter() {
        assert!(thread != name && thread != "control", "{thread} panicked, see above");
    }
}

fn panicked() -> MutexGuard<'static, Vec<String>> {
    PANICKED.lock().unwrap_or_else(PoisonError::into_inner)
}
