//! What is made of key files, and follows them.

use std::cell::RefCell;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::KeysError;

/// A value that is made of the keys in a folder, and made anew when these change.
///
/// The files are read again for a handshake, but at most every [`Self::INTERVAL`]; that is a few
/// short blocking reads. A set that does not load or fit (the files may be half replaced) is
/// logged once, and the last good one stays. Established connections are never touched.
pub(crate) struct Reloaded<K, C> {
    folder: PathBuf,
    load: fn(&Path) -> Result<K, KeysError>,
    build: Build<K, C>,
    state: RefCell<State<K, C>>,
}

type Build<K, C> = Box<dyn Fn(&K) -> Result<C, KeysError>>;

struct State<K, C> {
    keys: K,
    built: C,
    read_at: Instant,
    /// What was last logged.
    problem: Option<String>,
}

impl<K: Eq, C: Clone> Reloaded<K, C> {
    const INTERVAL: Duration = Duration::from_secs(1);

    /// `load` reads the keys of `folder`, `build` makes the value of them.
    pub(crate) fn new(
        folder: &Path,
        load: fn(&Path) -> Result<K, KeysError>,
        build: impl Fn(&K) -> Result<C, KeysError> + 'static,
    ) -> Result<Self, KeysError> {
        let keys = load(folder)?;
        let built = build(&keys)?;
        let state = State { keys, built, read_at: Instant::now(), problem: None };
        let (folder, build) = (folder.to_owned(), Box::new(build));
        Ok(Self { folder, load, build, state: RefCell::new(state) })
    }

    /// The value for the keys as they are now.
    pub(crate) fn current(&self) -> C {
        let mut state = self.state.borrow_mut();
        if state.read_at.elapsed() >= Self::INTERVAL {
            state.read_at = Instant::now();
            match self.reload(&mut state) {
                Ok(()) => state.problem = None,
                Err(error) => self.report(&mut state, &error),
            }
        }
        state.built.clone()
    }

    fn reload(&self, state: &mut State<K, C>) -> Result<(), KeysError> {
        let keys = (self.load)(&self.folder)?;
        if keys != state.keys {
            state.built = (self.build)(&keys)?;
            state.keys = keys;
            tracing::info!(folder = %self.folder.display(), "new keys are in use");
        }
        Ok(())
    }

    fn report(&self, state: &mut State<K, C>, error: &KeysError) {
        let problem = match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        if state.problem.as_ref() != Some(&problem) {
            let folder = self.folder.display();
            tracing::warn!(%folder, error = problem, "cannot use the new keys, the old ones stay");
            state.problem = Some(problem);
        }
    }
}
