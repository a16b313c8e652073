//! Which bytes names and values are made of.

/// The bytes of names in lower case; 0 for what is none (RFC 9110 §5.6.2).
pub(super) static LOWER: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = match byte as u8 {
            letter @ b'A'..=b'Z' => letter.to_ascii_lowercase(),
            other @ (b'!'
            | b'#'..=b'\''
            | b'*'
            | b'+'
            | b'-'
            | b'.'
            | b'0'..=b'9'
            | b'^'..=b'z'
            | b'|'
            | b'~') => other,
            _ => 0,
        };
        byte += 1;
    }
    table
};

/// Whether these bytes can be a value. Most can, and are looked at eight at a time.
pub(super) fn is_value(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks();
    (words.iter().all(|word| is_plain(*word)) && rest.iter().all(|byte| is_value_byte(*byte)))
        || bytes.iter().all(|byte| is_value_byte(*byte))
}

/// Whether no byte is a control.
fn is_plain(word: [u8; 8]) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    let word = u64::from_ne_bytes(word);
    let (delete, high) = (word ^ (ONES * 0x7f), ONES * 0x80);
    // The top bit of a byte tells of a borrow: that it, or one below it, was the smaller.
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let is_delete = delete.wrapping_sub(ONES) & !delete;
    (below_space | is_delete) & high == 0
}

/// RFC 9110 §5.5: no control but the tab.
pub(super) fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}
