//! Reloads a `config.json` while it serves: what became of it, and the watch of a file.
//!
//! The file's name is looked up anew each time, so an edit in place, a rename over it and the
//! swapped `..data` link of a mounted ConfigMap are all seen. A `subPath` mount never changes.

use std::fmt;
use std::fs::{self, Metadata};
use std::future::Future;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::{Config, LoadError, digest_of, load};

/// What a watched source, such as a file, has come to.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The last good config.
    pub config: watch::Receiver<Arc<Config>>,
    /// How the source stands to it; changes after `config` did.
    pub status: watch::Receiver<Status>,
}

/// How the source stands to the config that serves.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// The digest of the config that serves.
    pub digest: String,
    /// Why the source's content does not serve or is not known, one line per mistake; `None` if it does.
    pub error: Option<String>,
    /// How many configs were applied since the start, the initial one not counted.
    pub applied: u64,
    /// How many times a broken, missing or unreadable source was left aside.
    pub refused: u64,
}

/// Watches `path` from the config that was loaded from it.
///
/// The future looks at the file four times a second and reads it when it changed. New content
/// counts once two looks in a row found it, so half-written files are passed over. What is broken,
/// missing or unreadable is logged once and leaves the last good config serving. The future ends
/// when nobody holds a receiver of the config; dropping it at any point is safe.
pub fn file(
    path: PathBuf,
    initial: Config,
) -> (Watched, impl Future<Output = ()> + Send + 'static) {
    let (watcher, watched) = Watcher::new(path, initial);
    (watched, watcher.run())
}

struct Watcher {
    path: PathBuf,
    pause: Duration,
    settle: Duration,
    publisher: Publisher,
    /// The file at the last look.
    stamp: Option<Stamp>,
    /// The digest (or error) that was found once and is not confirmed yet.
    candidate: Option<String>,
    /// The digest (or error) that was applied or refused last.
    settled: String,
}

impl Watcher {
    fn new(path: PathBuf, initial: Config) -> (Self, Watched) {
        let settled = initial.digest().to_owned();
        let (publisher, watched) = Publisher::new(path.display().to_string(), initial);
        let watcher = Self {
            path,
            pause: Duration::from_millis(250),
            // The coarsest time stamps of common file systems: an edit may leave them unchanged.
            settle: Duration::from_secs(2),
            publisher,
            stamp: None,
            candidate: None,
            settled,
        };
        (watcher, watched)
    }

    async fn run(mut self) {
        while !self.publisher.is_closed() {
            self.look().await;
            tokio::time::sleep(self.pause).await;
        }
    }

    async fn look(&mut self) {
        let (path, settle) = (self.path.clone(), self.settle);
        // An unconfirmed candidate is read again even if the file looks unchanged.
        let known = self.stamp.take().filter(|_| self.candidate.is_none());
        // Away from the thread, so that a file system that hangs does not stop what else it does.
        let Ok(found) = spawn_blocking(move || Found::at(&path, known, settle)).await else {
            return;
        };
        self.stamp = found.stamp;
        if let Some(content) = found.content.filter(|content| self.is_confirmed(content)) {
            self.take_up(content);
        }
    }

    /// Whether `content` is new and was found by the look before, too.
    fn is_confirmed(&mut self, content: &io::Result<Vec<u8>>) -> bool {
        let found = match content {
            Ok(bytes) => digest_of(bytes),
            Err(error) => error.to_string(),
        };
        if found == self.settled {
            self.candidate = None;
            return false;
        }
        if self.candidate.as_ref() != Some(&found) {
            self.candidate = Some(found);
            return false;
        }
        self.candidate = None;
        self.settled = found;
        true
    }

    fn take_up(&self, content: io::Result<Vec<u8>>) {
        let config = content
            .map_err(|reason| LoadError::reading(&self.path, reason))
            .and_then(|bytes| Ok(Config::from_bytes(&bytes, &self.path)?));
        match config {
            Ok(config) => self.publisher.apply(config),
            Err(error) => self.publisher.refuse(&error),
        }
    }
}

/// Tells all who hold a [`Watched`] what became of its source.
pub(crate) struct Publisher {
    /// For the log.
    source: String,
    config: watch::Sender<Arc<Config>>,
    status: watch::Sender<Status>,
}

impl Publisher {
    /// Begins with a good config.
    pub(crate) fn new(source: String, initial: Config) -> (Self, Watched) {
        let status = Status { digest: initial.digest().to_owned(), ..Status::default() };
        let (config, config_receiver) = watch::channel(Arc::new(initial));
        let (status, status_receiver) = watch::channel(status);
        let watched = Watched { config: config_receiver, status: status_receiver };
        (Self { source, config, status }, watched)
    }

    /// Whether nobody holds a receiver of the config any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.config.is_closed()
    }

    /// Waits until nobody holds a receiver of the config any more. Cancel safe.
    pub(crate) async fn closed(&self) {
        self.config.closed().await;
    }

    /// Lets a config serve from now on, unless it does already.
    pub(crate) fn apply(&self, config: Config) {
        let (source, digest) = (&self.source, config.digest().to_owned());
        let is_new = self.config.borrow().digest() != digest;
        if is_new {
            tracing::info!(source, digest, mappings = config.routes().len(), "config applied");
            self.config.send_replace(Arc::new(config));
        }
        if self.status.borrow().error.is_some() {
            tracing::info!(source, digest, "config is good again");
        }
        self.status.send_modify(|status| {
            status.applied += u64::from(is_new);
            status.digest = digest;
            status.error = None;
        });
    }

    /// Says why what is new does not serve, with one line per mistake.
    pub(crate) fn refuse(&self, error: &impl fmt::Display) {
        let (source, serving) = (&self.source, self.config.borrow().digest().to_owned());
        tracing::error!(source, serving, "config refused, the last good one keeps serving");
        let error = error.to_string();
        for line in error.lines() {
            tracing::error!(problem = line, "config problem");
        }
        self.status.send_modify(|status| {
            status.refused += 1;
            status.error = Some(error);
        });
    }

    /// Says why it is not known whether there is something new; `None` takes that back. Returns
    /// whether that was not known already.
    pub(crate) fn doubt(&self, error: Option<String>) -> bool {
        self.status.send_if_modified(|status| {
            let is_new = status.error != error;
            status.error = error;
            is_new
        })
    }
}

/// What one look at the file found.
struct Found {
    stamp: Option<Stamp>,
    /// `None` if the file is the known one.
    content: Option<io::Result<Vec<u8>>>,
}

impl Found {
    fn at(path: &Path, known: Option<Stamp>, settle: Duration) -> Self {
        let metadata = match fs::metadata(path) {
            // Reading anything else could block for ever.
            Ok(metadata) if !metadata.is_file() => Err(io::Error::other("not a regular file")),
            other => other,
        };
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => return Self { stamp: None, content: Some(Err(error)) },
        };
        let stamp = Stamp::from(&metadata);
        if known == Some(stamp) && stamp.age() >= settle {
            return Self { stamp: known, content: None };
        }
        let content = load::read(path);
        // A failure may pass without a trace in the file.
        Self { stamp: content.is_ok().then_some(stamp), content: Some(content) }
    }
}

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// The inode's change time, which unlike the modification time no tool can set back.
    changed: (i64, i64),
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Stamp {
    /// How long ago the file changed; zero if its clock is ahead.
    fn age(&self) -> Duration {
        let seconds = u64::try_from(self.changed.0).unwrap_or_default();
        let nanos = u32::try_from(self.changed.1).unwrap_or_default();
        let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        changed.elapsed().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
