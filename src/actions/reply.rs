//! A callee's answer as part of a job's result: JSON where it is JSON, text otherwise, never large.

use serde_json::{Value, json};

use crate::json::parse_strict;

/// Bytes of a reply that a result keeps.
pub(crate) const MAX_REPLY: usize = 64 * 1024;

/// `body` as a value; one larger than `max` is replaced by its size.
pub(crate) fn read(body: &[u8], max: usize) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    if body.len() > max {
        return json!({ "omitted": "too large", "bytes": body.len() });
    }
    match parse_strict(body) {
        Ok(value) => value,
        Err(_) => Value::String(String::from_utf8_lossy(body).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_json_text_nothing_or_its_size() {
        assert_eq!(read(b"", 10), Value::Null);
        assert_eq!(read(b"{\"a\":1}", 10), json!({ "a": 1 }));
        assert_eq!(read(b"OK", 10), json!("OK"));
        assert_eq!(read(b"\xff", 10), json!("\u{fffd}"));
        assert_eq!(read(&[b'x'; 11], 10), json!({ "omitted": "too large", "bytes": 11 }));
    }
}
