//! The config files of a bridge.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

/// What `config.json` says. Each end has a file of its own, so that they can be made to differ.
pub struct Mappings {
    folder: TempDir,
    entries: Vec<Entry>,
    next_port: u16,
}

struct Entry {
    name: String,
    port: u16,
    value: Value,
    only_in_send: bool,
}

impl Mappings {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), entries: Vec::new(), next_port: 20_000 }
    }

    /// Adds a mapping of the next port; `more` are further fields.
    pub fn add(&mut self, name: &str, target: &str, more: &Value, only_in_send: bool) {
        let port = self.next_port;
        self.next_port += 1;
        let mut value = json!({ "port": port.to_string(), "remoteIP": target, "name": name });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.entries.push(Entry { name: name.to_owned(), port, value, only_in_send });
    }

    /// Gives a mapping further fields.
    pub fn change(&mut self, name: &str, more: &Value) {
        let entry = self.entries.iter_mut().find(|entry| entry.name == name);
        let fields = entry.and_then(|entry| entry.value.as_object_mut()).expect("no such mapping");
        fields.extend(more.as_object().unwrap().clone());
    }

    pub fn remove(&mut self, name: &str) {
        self.entries.retain(|entry| entry.name != name);
    }

    pub fn port(&self, name: &str) -> u16 {
        self.entries.iter().find(|entry| entry.name == name).expect("no such mapping").port
    }

    pub fn send_file(&self) -> PathBuf {
        self.folder.path().join("send.json")
    }

    pub fn receive_file(&self) -> PathBuf {
        self.folder.path().join("receive.json")
    }

    /// Puts both files in place whole, as an editor or kubelet does.
    pub fn write(&self) {
        let all = self.entries.iter().map(|entry| &entry.value);
        let shared = self.entries.iter().filter(|entry| !entry.only_in_send);
        self.replace(&self.send_file(), &json!({ "data": all.collect::<Vec<_>>() }).to_string());
        let shared: Vec<_> = shared.map(|entry| &entry.value).collect();
        self.replace(&self.receive_file(), &json!({ "data": shared }).to_string());
    }

    /// Puts `text` into both files, whatever it is.
    pub fn write_text(&self, text: &str) {
        self.replace(&self.send_file(), text);
        self.replace(&self.receive_file(), text);
    }

    fn replace(&self, file: &PathBuf, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, file).unwrap();
    }
}
