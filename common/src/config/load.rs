//! Reads `config.json` from a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::parse::MAX_BYTES;
use super::{Config, Problems};

/// Why a file did not become a [`Config`].
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no file.
    #[error(
        "{}: there is no such file: create it, with {{ \"data\": [] }} for no mappings, or name \
         another one", .0.display()
    )]
    Missing(PathBuf),
    /// The text has mistakes.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The file is there but cannot be read.
    #[error(
        "{}: cannot be read: {reason}: make it a file that this process may read", .path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: io::Error,
    },
}

impl LoadError {
    pub(super) fn reading(path: &Path, reason: io::Error) -> Self {
        match reason.kind() {
            io::ErrorKind::NotFound => Self::Missing(path.into()),
            _ => Self::Unreadable { path: path.into(), reason },
        }
    }
}

impl Config {
    /// Reads and parses `path`; see [`Config::parse`]. Blocks on the file system.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let bytes = read(path).map_err(|reason| LoadError::reading(path, reason))?;
        Ok(Self::from_bytes(&bytes, path)?)
    }
}

/// At most one byte more than a config may have, which is enough to refuse it.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
