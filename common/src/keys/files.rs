//! Reading and writing key files with the permissions that secrets need.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::KeysError;

/// Reads a private key file, at most 1 MiB.
///
/// Nobody but the owner may have access. One exception: a file of `root` may be readable
/// by its group, because Kubernetes mounts a Secret like that for a pod with an `fsGroup`.
///
/// # Errors
/// [`KeysError::Read`], or [`KeysError::Permissions`] which names the `chmod` to run.
pub fn read_private(path: &Path) -> Result<Vec<u8>, KeysError> {
    read(path, true)
}

/// Reads a file that is no secret, at most 1 MiB.
pub(super) fn read_public(path: &Path) -> Result<Vec<u8>, KeysError> {
    read(path, false)
}

/// The same, for a file that is text.
pub(super) fn read_text(path: &Path) -> Result<String, KeysError> {
    String::from_utf8(read_public(path)?).map_err(|_| KeysError::Invalid {
        path: path.to_owned(),
        reason: "this is no text".to_owned(),
    })
}

fn read(path: &Path, private: bool) -> Result<Vec<u8>, KeysError> {
    /// Far above any key or chain; a wrong path must not fill the memory.
    const MAX_LEN: u64 = 1 << 20;

    let failed = |source| KeysError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if private {
        // Checked on the open file: the path may be swapped meanwhile.
        check_permissions(path, &file.metadata().map_err(failed)?)?;
    }
    let mut content = Vec::new();
    file.take(MAX_LEN + 1).read_to_end(&mut content).map_err(failed)?;
    match content.len() as u64 <= MAX_LEN {
        true => Ok(content),
        false => Err(KeysError::Invalid {
            path: path.to_owned(),
            reason: "it is over 1 MiB, as no keys are".to_owned(),
        }),
    }
}

fn check_permissions(path: &Path, metadata: &Metadata) -> Result<(), KeysError> {
    let allowed = if metadata.uid() == 0 { 0o740 } else { 0o700 };
    let mode = metadata.mode() & 0o777;
    match mode & !allowed {
        0 => Ok(()),
        _ => Err(KeysError::Permissions { path: path.to_owned(), mode }),
    }
}

/// A file still to be written, in a folder that only its owner may enter.
pub(super) struct NewFile {
    pub(super) path: PathBuf,
    pub(super) content: String,
    mode: u32,
}

impl NewFile {
    /// For the owner's eyes only.
    pub(super) fn private(path: PathBuf, content: impl Into<String>) -> Self {
        Self { path, content: content.into(), mode: 0o600 }
    }

    pub(super) fn public(path: PathBuf, content: impl Into<String>) -> Self {
        Self { path, content: content.into(), mode: 0o644 }
    }

    /// Writes all `files`, or none if one of them exists.
    pub(super) fn write_all(files: &[Self]) -> Result<(), KeysError> {
        if let Some(file) = files.iter().find(|file| file.path.symlink_metadata().is_ok()) {
            return Err(KeysError::Exists(file.path.clone()));
        }
        files.iter().try_for_each(Self::write)
    }

    fn write(&self) -> Result<(), KeysError> {
        if let Some(folder) = self.path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|source| KeysError::Write { path: folder.to_owned(), source })?;
        }
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(self.mode)
            .open(&self.path)
            .and_then(|mut file| file.write_all(self.content.as_bytes()))
            .map_err(|source| match source.kind() {
                ErrorKind::AlreadyExists => KeysError::Exists(self.path.clone()),
                _ => KeysError::Write { path: self.path.clone(), source },
            })
    }
}
