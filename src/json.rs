//! The one JSON parser of foreign text: strict where `serde_json` is lenient.
//!
//! Two readers that understand one text differently are a security hole (Bishop Fox, "An Exploration
//! of JSON Interoperability Vulnerabilities"): `serde_json` takes the last of two equal keys, others
//! take the first. Whatever could be read in two ways is refused here, and everything behind reads
//! the one [`Value`] this makes.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Nesting deeper than this is refused (DESIGN §10).
pub const MAX_DEPTH: usize = 64;

/// Why a text is not the JSON we accept. Carries no part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON at all (a byte order mark and a lone surrogate count as such), a number outside the
    /// range of a double, or bytes after the value.
    #[error("not JSON")]
    Syntax,
    /// Not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// One object names a key twice; readers disagree which one counts.
    #[error("duplicate key")]
    DuplicateKey,
    /// Deeper than [`MAX_DEPTH`].
    #[error("nested too deep")]
    TooDeep,
}

/// Parses `bytes` as one JSON value; refuses duplicate keys, depth over [`MAX_DEPTH`], bad UTF-8
/// and trailing bytes. Integers of 64 bits stay exact; larger ones become the nearest double.
pub fn parse_strict(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::Utf8)?;
    let fault = Cell::new(JsonError::Syntax);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict { room: MAX_DEPTH, fault: &fault }.deserialize(&mut deserializer).map_err(|_| fault.get())?;
    deserializer.end().map_err(|_| JsonError::Syntax)?;
    Ok(value)
}

/// Builds a value with `room` more levels allowed. The first broken rule is left in `fault`, since
/// the deserializer's error type can carry only text.
#[derive(Clone, Copy)]
struct Strict<'f> {
    room: usize,
    fault: &'f Cell<JsonError>,
}

impl Strict<'_> {
    fn fail<T, E: Error>(self, fault: JsonError) -> Result<T, E> {
        self.fault.set(fault);
        Err(E::custom(fault))
    }

    fn inner<E: Error>(self) -> Result<Self, E> {
        match self.room.checked_sub(1) {
            Some(room) => Ok(Self { room, ..self }),
            None => self.fail(JsonError::TooDeep),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        match Number::from_f64(value) {
            Some(number) => Ok(Value::Number(number)),
            None => self.fail(JsonError::Syntax),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(inner)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if object.insert(key, value).is_some() {
                return self.fail(JsonError::DuplicateKey);
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}0{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn what_readers_could_take_in_two_ways_is_refused() {
        let cases: [(&[u8], JsonError); 22] = [
            (b"", JsonError::Syntax),
            (b"  ", JsonError::Syntax),
            (b"{}{}", JsonError::Syntax),
            (b"{} x", JsonError::Syntax),
            (b"[1,]", JsonError::Syntax),
            (b"{\"a\":1,}", JsonError::Syntax),
            (b"{'a':1}", JsonError::Syntax),
            (b"{a:1}", JsonError::Syntax),
            (b"NaN", JsonError::Syntax),
            (b"01", JsonError::Syntax),
            (b"+1", JsonError::Syntax),
            (b"1e400", JsonError::Syntax),
            (b"// comment\n1", JsonError::Syntax),
            (b"\"tab\tin string\"", JsonError::Syntax),
            (b"\"\\ud800\"", JsonError::Syntax),
            (b"\"\\udc00\\ud800\"", JsonError::Syntax),
            (b"\xef\xbb\xbf{}", JsonError::Syntax),
            (b"\"\xff\"", JsonError::Utf8),
            (b"\"\xed\xa0\x80\"", JsonError::Utf8),
            (b"{\"a\":1,\"a\":1}", JsonError::DuplicateKey),
            (b"{\"a\":1,\"\\u0061\":2}", JsonError::DuplicateKey),
            (b"[{\"x\":{\"\":0,\"\":1}}]", JsonError::DuplicateKey),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_strict(text), Err(expected), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn depth_ends_at_the_limit_and_far_beyond_it() {
        assert!(parse_strict(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse_strict(nested(MAX_DEPTH + 1).as_bytes()), Err(JsonError::TooDeep));
        assert_eq!(parse_strict("[".repeat(100_000).as_bytes()), Err(JsonError::TooDeep));
        assert_eq!(parse_strict("{\"a\":".repeat(100_000).as_bytes()), Err(JsonError::TooDeep));
    }

    #[test]
    fn integers_of_64_bits_stay_exact() {
        for text in
            ["0", "-1", "9007199254740993", "9223372036854775807", "-9223372036854775808", "18446744073709551615"]
        {
            assert_eq!(parse_strict(text.as_bytes()).expect("JSON").to_string(), text);
        }
    }

    #[test]
    fn what_is_plain_json_is_kept_as_it_is() {
        let text = r#" {"a":[null,true,-0.5,"\u0000\u2665\ud83d\ude00"],"b":{"a":{}}} "#;
        let expected = json!({"a": [null, true, -0.5, "\u{0}\u{2665}\u{1F600}"], "b": {"a": {}}});
        assert_eq!(parse_strict(text.as_bytes()), Ok(expected));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_agree_with_serde_json(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = parse_strict(&bytes) {
                prop_assert_eq!(serde_json::from_slice::<Value>(&bytes).ok(), Some(value));
            }
        }

        #[test]
        fn json_shaped_text_never_panics_and_agrees_with_serde_json(text in r#"[\[\]{},:"a0-9\\u eE.-]{0,60}"#) {
            if let Ok(value) = parse_strict(text.as_bytes()) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
            }
        }
    }
}
