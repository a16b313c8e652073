//! An answer as an HTTP/1 caller sees it, read byte by byte without a library in between.

use std::io::{BufRead, ErrorKind};

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    /// All fields in their order, names in lower case.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Reply {
    /// Reads a head, which may be informational.
    pub fn read_head(from: &mut impl BufRead) -> Self {
        let first = line(from);
        let version = first.get(..9).unwrap_or_default();
        assert!(version == "HTTP/1.1 " || version == "HTTP/1.0 ", "no answer: {first:?}");
        Self { status: first[9..12].parse().unwrap(), fields: fields(from), ..Self::default() }
    }

    /// Reads the body that belongs to the head, and the trailers.
    pub fn read_body(&mut self, from: &mut impl BufRead) {
        if matches!(self.status, 100..200 | 204 | 304) {
            return;
        }
        if self.field("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = chunk(from) {
                self.body.extend(chunk);
            }
            self.trailers = fields(from);
        } else if let Some(length) = self.field("content-length") {
            self.body = vec![0; length.parse().unwrap()];
            from.read_exact(&mut self.body).unwrap();
        } else {
            from.read_to_end(&mut self.body).unwrap();
        }
    }

    /// A field that comes at most once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} comes several times: {all:?}");
        all.first().copied()
    }

    /// The values of all lines of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(found, _)| found == name).map(|(_, value)| &**value).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// Fails unless it is a 200 with this text.
    pub fn assert_ok(&self, text: &str) {
        assert_eq!((self.status, &*self.text()), (200, text), "{:?}", self.fields);
    }

    /// Fails unless the bridge itself answers, with this status and this error of RFC 9209.
    pub fn assert_error(&self, status: u16, error: &str) {
        let proxy_status = self.field("proxy-status").unwrap_or_default();
        assert_eq!(self.status, status, "{proxy_status}");
        assert!(proxy_status.contains(&format!("; error={error};")), "{proxy_status}");
    }
}

/// The next chunk of a chunked body; `None` after the last.
pub fn chunk(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let size = line(from);
    let mut chunk = vec![0; usize::from_str_radix(&size, 16).unwrap()];
    if chunk.is_empty() {
        return None;
    }
    from.read_exact(&mut chunk).unwrap();
    assert_eq!(line(from), "");
    Some(chunk)
}

/// The fields up to an empty line.
pub fn fields(from: &mut impl BufRead) -> Vec<(String, String)> {
    std::iter::from_fn(|| Some(line(from)).filter(|line| !line.is_empty()))
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect()
}

/// A line without its end; empty at the end of the stream, also where that is a reset.
pub fn line(from: &mut impl BufRead) -> String {
    let mut line = Vec::new();
    if let Err(error) = from.read_until(b'\n', &mut line) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    let text = String::from_utf8(line).unwrap();
    text.trim_end_matches(['\r', '\n']).to_owned()
}
