//! From the document's fields to routes, with the rules that concern more than one field.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::{self, Document, Mapping, Tls};
use super::problem::{Problem, Problems};
use super::reader::{Reader, Spanned};
use super::route::{Downstream, Route, Scheme, Target, TargetTls};
use super::value::Port;
use crate::condition::Condition;

/// The largest text, in bytes: four times what a Kubernetes ConfigMap can hold.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// The most mappings; each is a listening socket.
const MAX_MAPPINGS: usize = 10_000;

/// All routes of a file that was read with at most one byte more than [`MAX_BYTES`].
pub(super) fn routes_from_bytes(bytes: &[u8], source: &Path) -> Result<Vec<Route>, Problems> {
    let at_line = |line, message| Problem {
        file: source.into(),
        line,
        column: None,
        path: String::new(),
        message,
    };
    if bytes.len() > MAX_BYTES {
        let message = format!("the text is over {MAX_BYTES} bytes: split it over more bridges");
        return Err(at_line(1, message).into());
    }
    match str::from_utf8(bytes) {
        Ok(text) => routes(text, source),
        Err(error) => {
            let before = bytes.iter().take(error.valid_up_to());
            let line = 1 + before.filter(|byte| **byte == b'\n').count();
            Err(at_line(line, "the text is not UTF-8: save it as UTF-8".into()).into())
        }
    }
}

fn routes(text: &str, source: &Path) -> Result<Vec<Route>, Problems> {
    let mut parser = Parser {
        reader: Reader::new(text, source),
        folder: source.parent().unwrap_or(Path::new("")),
        ports: HashMap::new(),
        names: HashMap::new(),
    };
    let routes = parser.document();
    parser.reader.finish(routes)
}

struct Parser<'a> {
    reader: Reader<'a>,
    folder: &'a Path,
    ports: HashMap<u16, Place<'a>>,
    names: HashMap<String, Place<'a>>,
}

/// Where a port or name was used first.
struct Place<'a> {
    path: String,
    raw: &'a str,
}

impl<'a> Parser<'a> {
    fn document(&mut self) -> Option<Vec<Route>> {
        let root = self.reader.root::<Document<'_>>()?;
        let Some(data) = self.reader.object(&root, "")?.data else {
            let message = "\"data\" is missing: list the mappings there; it may be empty";
            self.reader.report(root.raw(), "", message);
            return None;
        };
        let mappings = self.reader.list(&data, "data")?;
        if mappings.len() > MAX_MAPPINGS {
            let count = mappings.len();
            let message = format_args!("{count} mappings are over the limit of {MAX_MAPPINGS}");
            self.reader.report(data.raw(), "data", message);
            return None;
        }
        let mappings = mappings.iter().enumerate();
        Some(mappings.filter_map(|(index, mapping)| self.mapping(index, mapping)).collect())
    }

    fn mapping(&mut self, index: usize, at: &Spanned<'a, Mapping<'a>>) -> Option<Route> {
        let path = format!("data[{index}]");
        let fields = self.reader.object(at, &path)?;
        let port = self.port(at, &fields, &path);
        let name = self.name(&fields, &path);
        let target = self.target(at, &fields, &path);
        let reader = &mut self.reader;
        let cluster = reader.value(fields.cluster.as_ref(), format_args!("{path}.cluster"));
        let health = reader.value(fields.health.as_ref(), format_args!("{path}.health"));
        let host = reader.value(fields.host.as_ref(), format_args!("{path}.host"));
        let timeout = reader.value(fields.timeout.as_ref(), format_args!("{path}.timeout"));
        let connect_timeout =
            reader.value(fields.connect_timeout.as_ref(), format_args!("{path}.connectTimeout"));
        let downstream = fields.downstream.as_ref();
        let downstream =
            downstream.and_then(|at| self.downstream(at, &format!("{path}.downstream")));
        let port = port?;
        Some(Route {
            condition: Condition::from(port),
            port,
            name: name.unwrap_or_else(|| port.to_string()),
            cluster: cluster.map(|cluster| cluster.0),
            target: target?,
            health,
            host: host.unwrap_or_default(),
            downstream: downstream.unwrap_or_default(),
            timeout: timeout.unwrap_or(Duration::from_secs(5 * 60)),
            connect_timeout: connect_timeout.unwrap_or(Duration::from_secs(5)),
        })
    }

    fn port(
        &mut self,
        at: &Spanned<'a, Mapping<'a>>,
        fields: &Mapping<'a>,
        path: &str,
    ) -> Option<u16> {
        let Some(field) = &fields.port else {
            let message = "\"port\" is missing: name the port that tunnel-send listens on";
            self.reader.report(at.raw(), path, message);
            return None;
        };
        let place = Place { path: format!("{path}.port"), raw: field.raw() };
        let Port(port) = self.reader.value(Some(field), &place.path)?;
        unique(&mut self.reader, &mut self.ports, port, place);
        Some(port)
    }

    fn name(&mut self, fields: &Mapping<'a>, path: &str) -> Option<String> {
        let field = fields.name.as_ref()?;
        let place = Place { path: format!("{path}.name"), raw: field.raw() };
        let name = self.reader.value(Some(field), &place.path)?.0;
        unique(&mut self.reader, &mut self.names, name.clone(), place);
        Some(name)
    }

    fn target(
        &mut self,
        at: &Spanned<'a, Mapping<'a>>,
        fields: &Mapping<'a>,
        path: &str,
    ) -> Option<Target> {
        let tls = fields.tls.as_ref().and_then(|tls| self.tls(tls, &format!("{path}.tls")));
        let (spelling, url) = match (&fields.remote_ip, &fields.remote_ip_too) {
            (Some(url), None) => ("remoteIP", url),
            (None, Some(url)) => ("remoteIp", url),
            (Some(_), Some(again)) => {
                let message = "\"remoteIP\" and \"remoteIp\" are one field: keep one of them";
                self.reader.report(again.raw(), path, message);
                return None;
            }
            (None, None) => {
                let message = "\"remoteIP\" is missing: write the target's URL";
                self.reader.report(at.raw(), path, message);
                return None;
            }
        };
        let target: Target = self.reader.value(Some(url), format_args!("{path}.{spelling}"))?;
        if let Some(tls) = fields.tls.as_ref().filter(|_| target.scheme != Scheme::Https) {
            let message = "only an https target has TLS: write https:// or remove this";
            self.reader.report(tls.raw(), format_args!("{path}.tls"), message);
        }
        Some(Target { tls: tls.unwrap_or_default(), ..target })
    }

    fn downstream(
        &mut self,
        at: &Spanned<'a, document::Downstream<'a>>,
        path: &str,
    ) -> Option<Downstream> {
        let fields = self.reader.object(at, path)?;
        let tls = self.reader.value(fields.tls.as_ref(), format_args!("{path}.tls"));
        let trust = fields.trust_forwarded.as_ref();
        let trust = self.reader.value(trust, format_args!("{path}.trustForwarded"));
        Some(Downstream {
            tls: tls.map(|folder: PathBuf| self.folder.join(folder)),
            trust_forwarded: trust.unwrap_or_default(),
        })
    }

    fn tls(&mut self, at: &Spanned<'a, Tls<'a>>, path: &str) -> Option<TargetTls> {
        let fields = self.reader.object(at, path)?;
        let ca = self.reader.value(fields.ca.as_ref(), format_args!("{path}.ca"));
        let server_name = fields.server_name.as_ref();
        Some(TargetTls {
            ca: ca.map(|file| self.folder.join(file)),
            server_name: self.reader.value(server_name, format_args!("{path}.serverName")),
        })
    }
}

/// Notes where `key` is used, or complains that it is used already.
fn unique<'a, K: Eq + Hash + fmt::Display>(
    reader: &mut Reader<'a>,
    seen: &mut HashMap<K, Place<'a>>,
    key: K,
    place: Place<'a>,
) {
    match seen.entry(key) {
        Entry::Vacant(entry) => {
            entry.insert(place);
        }
        Entry::Occupied(entry) => {
            let Place { path, raw } = entry.get();
            let (key, line) = (entry.key(), reader.line(raw));
            let message = format_args!("{key} is already {path} in line {line}: write another one");
            reader.report(place.raw, place.path, message);
        }
    }
}
