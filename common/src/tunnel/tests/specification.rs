//! What `docs/tunnel-protocol.md` says is what the code does.

use bytes::{Buf, BytesMut};

use super::super::connection::{MAX_OUT, MAX_SMALL_FRAMES};
use super::super::frame::{FrameHeader, HEADER_LEN, MAX_CONTROL, MAX_DATA, MAX_REASON, PREFACE};
use super::super::head;
use super::super::hello::{MAX_LIST, MAX_TEXT};
use super::super::stream::MAX_HEADS;
use super::*;
use crate::fields::Name;

const PAGE: &str = include_str!("../../../../docs/tunnel-protocol.md");

/// The rows of the tables whose header begins so, as trimmed cells.
fn table(header: &str) -> Vec<Vec<&'static str>> {
    let rows = PAGE.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

fn header(kind: u8, stream: u32, len: usize) -> Result<FrameHeader, TunnelError> {
    let mut bytes = [0; HEADER_LEN];
    bytes[..4].copy_from_slice(&stream.to_be_bytes());
    bytes[4..].copy_from_slice(&(len as u32).to_be_bytes());
    bytes[4] = kind;
    FrameHeader::parse(bytes)
}

/// A number of bytes as the page writes it.
fn bytes(text: &str) -> usize {
    match text.strip_suffix(" MiB") {
        Some(mebibytes) => mebibytes.parse::<usize>().unwrap() << 20,
        None => text.parse().unwrap(),
    }
}

#[test]
fn kinds_are_as_documented() {
    let rows = table("| kind | name |");
    assert_eq!(rows.len(), 10);
    for row in rows {
        let [code, name, stream, _, size, ..] = row[..] else { panic!("{row:?}") };
        let code = code.parse().unwrap();
        let (least, most) = size.split_once(" to ").unwrap_or((size, size));
        let (least, most) = (bytes(least), bytes(most));
        let (right, wrong) = if stream == "0" { (0, 1) } else { (1, 0) };
        let kind = header(code, right, most).unwrap().kind;
        assert_eq!(format!("{kind:?}").to_uppercase(), name);
        assert!(header(code, right, least).is_ok(), "{name}");
        assert!(header(code, wrong, most).is_err(), "{name}");
        assert!(most + 1 == 1 << 24 || header(code, right, most + 1).is_err(), "{name}");
        // An empty HELLO or NOTICE is malformed as JSON.
        let json = name == "HELLO" || name == "NOTICE";
        assert!(json || least == 0 || header(code, right, least - 1).is_err(), "{name}");
    }
}

#[test]
fn reset_codes_are_as_documented() {
    let codes = [
        (ResetCode::NotBegun, "not begun"),
        (ResetCode::Cancelled, "cancelled"),
        (ResetCode::Failed, "failed"),
        (ResetCode::Overloaded, "overloaded"),
    ];
    let rows = table("| code | RESET means |");
    assert_eq!(rows.len(), codes.len());
    for (row, (code, word)) in rows.iter().zip(codes) {
        assert_eq!(ResetCode::from_wire(row[0].parse().unwrap()), code);
        assert!(row[1].starts_with(word), "{row:?}");
        assert_eq!(row[2] == "always", StreamError::Reset(code).is_not_begun(), "{row:?}");
    }
}

#[test]
fn examples_are_as_documented() {
    let preface: Vec<_> = PREFACE.iter().map(|byte| format!("{byte:02x}")).collect();
    for part in [&preface[..9], &preface[9..10], &preface[10..]] {
        assert!(PAGE.contains(&format!("`{}`", part.join(" "))), "{part:?}");
    }
    let mut frames = PAGE.lines().filter(|line| line.starts_with("00000001 ")).map(|line| {
        let digits: Vec<_> = line.chars().filter(|c| !c.is_whitespace()).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
        let mut frame: BytesMut = digits.chunks(2).map(byte).collect();
        let header = FrameHeader::parse(*frame.first_chunk().unwrap()).unwrap();
        frame.advance(HEADER_LEN);
        assert_eq!((header.stream, header.end, header.len), (1, true, frame.len()));
        frame.freeze()
    });
    let request = head::decode_request(&frames.next().unwrap()).unwrap();
    assert_eq!((request.method, request.uri.path()), (Method::GET, "/a"));
    assert_eq!(request.fields.get(Name::Host), Some(&b"b"[..]));
    let response = head::decode_response(&frames.next().unwrap()).unwrap();
    assert_eq!(response.status, StatusCode::NO_CONTENT);
    assert!(response.fields.is_empty());
    assert!(frames.next().is_none());
}

#[test]
fn fields_are_as_documented() {
    let names = |json: &serde_json::Value| -> Vec<String> {
        json.as_object().unwrap().keys().cloned().collect()
    };
    let mut documented: Vec<_> =
        table("| HELLO |").iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    documented.sort_unstable();
    assert_eq!(names(&serde_json::to_value(Hello::default()).unwrap()), documented);
    let list = Some(Vec::new());
    let notice = Notice {
        draining: Some(true),
        config: Some(String::new()),
        conditions: list.clone(),
        siblings: list.clone(),
        clusters: list.clone(),
        unwell: list,
    };
    for name in names(&serde_json::to_value(notice).unwrap()) {
        assert!(PAGE.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn limits_are_as_documented() {
    let limits = Limits::default();
    assert!(PAGE.contains(&format!("…until {} are unread", limits.initial_credit)));
    let documented = [
        ("| a DATA payload that is sent |", format!("{MAX_DATA} bytes |")),
        ("application lets go of them |", format!("{} |", limits.max_streams)),
        ("heads and trailers included |", format!("{} MiB |", limits.memory >> 20)),
        ("| unread heads of a stream |", format!("{MAX_HEADS} |")),
        ("| texts in HELLO", format!("{MAX_TEXT} bytes, {MAX_LIST} in a list |")),
        ("empty DATA without END |", format!("{MAX_SMALL_FRAMES} between")),
        ("the peer does not read |", format!("{} MiB |", MAX_OUT >> 20)),
        ("| reason of a CLOSE |", format!("{MAX_REASON} bytes |")),
        ("| until HELLO is complete |", format!("{} s |", limits.handshake.as_secs())),
        ("or CLOSE does not leave |", format!("{} s |", limits.write_stall.as_secs())),
        ("up to", format!("{} MiB for a stream", limits.max_credit >> 20)),
        ("and", format!("{} MiB of growth for all", (limits.memory / 2) >> 20)),
        ("after", format!("{} s without one", limits.silence.as_secs_f32())),
    ];
    for (what, number) in documented {
        let found = PAGE.lines().any(|line| line.contains(what) && line.contains(&number));
        assert!(found, "{what} {number}");
    }
    assert_eq!(limits.ping_interval, Duration::from_secs(1), "PING leaves each second");
    assert_eq!((MAX_HEAD, MAX_CONTROL), (1 << 16, 2 << 20), "the kinds' table has them");
}
