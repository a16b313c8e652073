//! What a client saw, without what a proxy may change.

use serde_json::Value;

/// Fields that speak of one connection, and those that `docs/headers.md` lets the bridge add.
const OF_THE_BRIDGE: [&str; 10] = [
    "connection",
    "date",
    "forwarded",
    "keep-alive",
    "transfer-encoding",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

/// Takes these fields out of all that is called `headers` or `trailers`, joins cookies, and orders the
/// others by name: only the order of lines with the same name means something (RFC 9110 §5.3). Text that
/// is JSON, as a body that tells what an origin saw, is treated alike. `addresses` become one word.
pub fn normalised(mut seen: Value, addresses: &[&str]) -> Value {
    normalise(&mut seen, addresses);
    seen
}

fn normalise(value: &mut Value, addresses: &[&str]) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| normalise(value, addresses)),
        Value::Object(members) => {
            for (name, member) in members {
                if let ("headers" | "trailers", Value::Array(fields)) = (&**name, &mut *member) {
                    order(fields);
                }
                normalise(member, addresses);
            }
        }
        Value::String(text) => {
            for address in addresses {
                *text = text.replace(address, "ADDRESS");
            }
            if text.starts_with("{\"") {
                let values = serde_json::Deserializer::from_str(text).into_iter();
                let values = values.collect::<Result<_, _>>().unwrap();
                *value = normalised(Value::Array(values), addresses);
            }
        }
        _ => {}
    }
}

/// A field is an array of name and value.
fn order(fields: &mut Vec<Value>) {
    let name = |field: &Value| field[0].as_str().unwrap().to_ascii_lowercase();
    // Where there is no body, the two versions of HTTP differ in whether they say so.
    let is_empty = |field: &Value| name(field) == "content-length" && field[1] == "0";
    fields.retain(|field| !OF_THE_BRIDGE.contains(&&*name(field)) && !is_empty(field));
    for field in &mut *fields {
        field[0] = name(field).into();
    }
    fields.sort_by_key(name);
    // HTTP/2 may have cookies in several fields, which mean the same as one (RFC 9113 §8.2.3).
    fields.dedup_by(|next, first| {
        let same = name(first) == "cookie" && name(next) == "cookie";
        if same {
            first[1] =
                format!("{}; {}", first[1].as_str().unwrap(), next[1].as_str().unwrap()).into();
        }
        same
    });
}
