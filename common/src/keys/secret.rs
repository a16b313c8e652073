//! Keys as the Kubernetes Secrets that the manifests mount.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::files::read_text;
use super::generate::in_memory;
use super::{KeysError, Summary};

/// The Secrets `tunnel-send-keys` and `tunnel-receive-keys`, one for each cluster.
///
/// `Display` writes them as YAML, with labels by which `kubectl apply --selector` takes one of them.
/// It shows private keys, and `Debug` none.
pub struct Secrets {
    namespace: String,
    send: Files,
    receive: Files,
}

/// Names and contents.
type Files = BTreeMap<String, String>;

impl Secrets {
    /// Reads the keys of both ends, as [`generate`](super::generate) wrote them.
    pub fn load(summary: &Summary, namespace: &str) -> Result<Self, KeysError> {
        Ok(Self {
            namespace: namespace.to_owned(),
            send: folder(&summary.send)?,
            receive: folder(&summary.receive)?,
        })
    }

    /// Makes keys that lie in no folder. The authority's key is not among them, so it is lost, and
    /// another cluster needs new keys for all.
    ///
    /// # Errors
    /// A name is invalid, as for [`generate`](super::generate).
    pub fn generate(names: &[String], cluster: &str, namespace: &str) -> Result<Self, KeysError> {
        let (mut send, mut receive) = (Files::new(), Files::new());
        for file in in_memory(names, cluster)? {
            let Some(name) = file.path.file_name().and_then(|name| name.to_str()) else { continue };
            if file.path.starts_with("send") {
                send.insert(name.to_owned(), file.content);
            } else if file.path.starts_with("receive") {
                receive.insert(name.to_owned(), file.content);
            }
        }
        Ok(Self { namespace: namespace.to_owned(), send, receive })
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, end: &str, files: &Files) -> fmt::Result {
        writeln!(f, "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {end}-keys")?;
        writeln!(f, "  namespace: {}\n  labels:", self.namespace)?;
        writeln!(f, "    app.kubernetes.io/name: {end}")?;
        writeln!(f, "    app.kubernetes.io/part-of: isthmus\ntype: Opaque\nstringData:")?;
        for (name, content) in files {
            writeln!(f, "  {name}: |")?;
            content.lines().try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "tunnel-send", &self.send)?;
        writeln!(f, "---")?;
        self.write(f, "tunnel-receive", &self.receive)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

fn folder(path: &Path) -> Result<Files, KeysError> {
    let failed = |source| KeysError::Read { path: path.to_owned(), source };
    let mut files = Files::new();
    for entry in path.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), read_text(&entry.path())?);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::keys::generate;

    #[test]
    fn tells_what_the_folders_hold() {
        let out = tempfile::tempdir().expect("a folder");
        let summary = generate(out.path(), &["a.example".to_owned()], "b1").expect("keys");
        let secrets = Secrets::load(&summary, "bridge").expect("the folders");
        let yaml = secrets.to_string();
        assert!(yaml.contains("\n  namespace: bridge\n"), "{yaml}");
        assert!(!yaml.contains("ca.key"), "the authority's key leaves its folder");
        assert_eq!(format!("{secrets:?}"), "Secrets { .. }");
        for (end, folder) in [("send", summary.send), ("receive", summary.receive)] {
            for file in folder.read_dir().expect("the folder") {
                let path = file.expect("a file").path();
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                let content = fs::read_to_string(&path).expect("text");
                let indented: String =
                    content.lines().map(|line| format!("    {line}\n")).collect();
                assert!(yaml.contains(&format!("  {name}: |\n{indented}")), "{end}/{name}: {yaml}");
            }
        }
    }

    #[test]
    fn makes_keys_without_a_folder() {
        let secrets = Secrets::generate(&["a.example".to_owned()], "b1", "bridge").expect("keys");
        let yaml = secrets.to_string();
        for (name, count) in [("tls.key", 2), ("authorized_keys", 1), ("known_hosts", 1)] {
            assert_eq!(yaml.matches(&format!("  {name}: |\n")).count(), count, "{name}: {yaml}");
        }
        assert!(Secrets::generate(&[], "b1", "bridge").is_err(), "the name is missing");
    }
}
