//! A door for a target in `fuzz/`. Not part of any release build.

use super::opening::Opening;

/// A client begins with anything, in any pieces, which change nothing.
pub fn opening(bytes: &[u8]) {
    let whole = feed([bytes]);
    assert_eq!(feed(bytes.chunks(1)), whole);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    assert_eq!(feed([first, second]), whole);
}

/// What is said of a client that sends these pieces: nothing yet, or whether it is good.
fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Result<(), String>> {
    let mut opening = Opening::default();
    pieces.into_iter().find_map(|piece| match opening.feed(piece) {
        Ok(true) => Some(Ok(())),
        Ok(false) => None,
        Err(error) => Some(Err(error.to_string())),
    })
}
