use proptest::prelude::*;

use super::room::{GROWN, KEPT, ROOMS, TEXT};
use super::*;

fn text(fields: &Fields) -> Vec<String> {
    let line =
        |field: Field<'_>| format!("{}: {}", field.name.escape_ascii(), field.value.escape_ascii());
    fields.iter().map(line).collect()
}

#[test]
fn keeps_the_order_and_lowers_the_names() {
    let list = Fields::of(&[("X-B", "1"), ("HOST", "a"), ("x-a", ""), ("X-b", "2"), ("Via", "3")]);
    assert_eq!(text(&list), ["x-b: 1", "host: a", "x-a: ", "x-b: 2", "via: 3"]);
    assert_eq!(text(&list.clone()), text(&list));
    assert_eq!((list.len(), list.is_empty(), Fields::new().is_empty()), (5, false, true));
    assert_eq!(list.get(Name::Host), Some(&b"a"[..]));
    assert_eq!(list.get(Name::Te), None);
    assert!(list.contains(Name::Via) && !list.contains(Name::Te));
}

#[test]
fn a_name_may_have_several_values_until_one_replaces_them() {
    let mut list = Fields::of(&[("via", "1"), ("x", "2"), ("Via", "3"), ("VIA", "4")]);
    assert_eq!(list.all(Name::Via).collect::<Vec<_>>(), [b"1", b"3", b"4"]);
    list.insert(Name::Via, b"5");
    assert_eq!(text(&list), ["via: 5", "x: 2"]);
    list.append(Name::Via, b"6");
    list.append_parts(Name::Te, &[b"7", b"", b"8"]);
    assert_eq!(text(&list), ["via: 5", "x: 2", "via: 6", "te: 78"]);
    list.remove(Name::Via);
    assert_eq!(text(&list), ["x: 2", "te: 78"]);
    assert!(!list.contains(Name::Via));
    list.insert(Name::Via, b"9");
    assert_eq!(text(&list), ["x: 2", "te: 78", "via: 9"]);
}

#[test]
fn keeps_what_is_to_be_kept() {
    let mut list = Fields::of(&[("via", "1"), ("x", "2"), ("te", "3"), ("via", "4")]);
    list.retain(|_| true);
    assert_eq!(list.len(), 4);
    list.retain(|field| field.value != b"1" && field.known != Some(Name::Te));
    assert_eq!(text(&list), ["x: 2", "via: 4"]);
    assert!(list.contains(Name::Via) && !list.contains(Name::Te));
    list.retain(|field| field.name == b"x");
    assert!(!list.contains(Name::Via));
}

#[test]
fn nothing_that_would_end_a_field_gets_in() {
    let mut list = Fields::new();
    for (name, value) in [
        (&b""[..], &b"v"[..]),
        (b"a:b", b"v"),
        (b"a b", b"v"),
        (b"a\xe9", b"v"),
        (b"a", b"v\r\nx: y"),
        (b"a", b"\0"),
        (b"a", b"\x7f"),
    ] {
        assert_eq!(list.push(name, value), Err(InvalidField), "{name:?}: {value:?}");
    }
    assert!(list.is_empty());
    list.append(Name::Host, b"a\r\nb\0\tc\xe9");
    list.insert(Name::Host, b"a\r\nb\0\tc\xe9");
    assert_eq!(list.get(Name::Host), Some(&b"a??b?\tc\xe9"[..]));
}

#[test]
fn what_is_dropped_is_used_again_and_empty() {
    drop(Fields::of(&[("via", "1")]));
    let rooms = || ROOMS.with_borrow(Vec::len);
    let before = rooms();
    let mut again = Fields::new();
    assert_eq!(rooms(), before - 1);
    assert!(again.is_empty() && again.get(Name::Via).is_none());
    again.append(Name::Via, &[b'a'; GROWN * TEXT + 1]);
    drop(again);
    assert_eq!(rooms(), before - 1, "a large one is let go");
    drop(Fields::default());
    assert_eq!(rooms(), before - 1, "there is nothing to keep");
    let many: Vec<_> = (0..2 * KEPT).map(|_| Fields::new()).collect();
    drop(many);
    assert_eq!(rooms(), KEPT);
}

proptest! {
    /// Names and values are what `http` takes for some, and become the same map.
    #[test]
    fn agrees_with_http(
        list in prop::collection::vec(("[ -~\\x7f\\xe9]{0,3}|[a-zA-Z-]{1,9}|(?i)via|host", any::<Vec<u8>>()), 0..9),
    ) {
        let mut fields = Fields::new();
        let mut map = HeaderMap::new();
        for (name, value) in &list {
            let theirs = HeaderName::from_bytes(name.as_bytes());
            let theirs = theirs.ok().zip(HeaderValue::from_bytes(value).ok());
            prop_assert_eq!(fields.push(name.as_bytes(), value).is_ok(), theirs.is_some());
            theirs.map(|(name, value)| map.append(name, value));
        }
        prop_assert_eq!(&HeaderMap::from(&fields), &map);
        prop_assert_eq!(&Fields::from(&map), &fields);
        let found = map.get_all("via").iter().map(HeaderValue::as_bytes);
        prop_assert!(fields.all(Name::Via).eq(found));
    }
}
