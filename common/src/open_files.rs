//! How many files the process may have open; its sockets are most of them.

use std::fs::File;
use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Files that are left to the tunnel, to callers and to whoever reads the config and the admin pages,
/// whatever the config asks for.
const RESERVED: usize = 64;

/// Lets the process have as many files open as it may grant itself. The limit that it starts with is
/// often 1024, for the sake of programs that use `select`.
pub fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Files that nobody needs: while they are open, nobody else takes their places.
pub struct Reserve {
    _files: Vec<File>,
}

impl Reserve {
    /// Fails where too few are left.
    pub fn new() -> io::Result<Self> {
        let nothing = File::open("/dev/null")?;
        let files = (1..RESERVED).map(|_| nothing.try_clone()).collect::<io::Result<_>>()?;
        Ok(Self { _files: files })
    }
}

/// Whether an operation failed because too many files are open.
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_as_high_as_it_may_be() {
        raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }

    #[test]
    fn tells_what_is_exhausted() {
        assert!(is_exhausted(&Errno::MFILE.into()) && !is_exhausted(&Errno::ADDRINUSE.into()));
    }
}
