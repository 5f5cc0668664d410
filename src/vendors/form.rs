//! HTML forms (`application/x-www-form-urlencoded`), read strictly: a broken escape is an error,
//! not a percent sign.

use serde_json::{Map, Value};

use super::Malformed;

/// One decoded field.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: Vec<u8>,
    /// Its value.
    pub(super) value: Vec<u8>,
}

/// The most fields of one form. Twilio sends some thirty.
const MAX_FIELDS: usize = 1000;

/// Decodes all fields in their order.
pub(super) fn fields(body: &[u8]) -> Result<Vec<Field>, Malformed> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let mut fields = Vec::new();
    for pair in body.split(|byte| *byte == b'&') {
        let cut = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = cut.map_or((pair, &[][..]), |cut| (&pair[..cut], &pair[cut + 1..]));
        if name.is_empty() || fields.len() == MAX_FIELDS {
            return Err(Malformed("the form has a field without a name, or too many fields".into()));
        }
        fields.push(Field { name: decode(name)?, value: decode(value)? });
    }
    Ok(fields)
}

fn decode(text: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => out.push(b' '),
            b'%' => {
                let [high, low, tail @ ..] = tail else { return Err(broken()) };
                let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return Err(broken()) };
                out.push(high << 4 | low);
                rest = tail;
            }
            byte => out.push(*byte),
        }
    }
    Ok(out)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn broken() -> Malformed {
    Malformed("the form has a broken escape".into())
}

/// The fields as an object of texts.
pub(super) fn object(body: &[u8], repeated: Repeated) -> Result<Value, Malformed> {
    let mut object = Map::new();
    for field in fields(body)? {
        let not_utf8 = |_| Malformed("the form is not UTF-8".into());
        let name = String::from_utf8(field.name).map_err(not_utf8)?;
        let value = Value::String(String::from_utf8(field.value).map_err(not_utf8)?);
        match (object.get_mut(&name), repeated) {
            (None, _) => {
                object.insert(name, value);
            }
            (Some(_), Repeated::Refused) => return Err(Malformed("the form names a field twice".into())),
            (Some(Value::Array(values)), Repeated::Listed) => values.push(value),
            (Some(first), Repeated::Listed) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Ok(Value::Object(object))
}

/// What a field that is there twice means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeated {
    /// The form is malformed.
    Refused,
    /// The value is the list of them.
    Listed,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_decoded_once() {
        assert_eq!(
            object(b"a=1+2%2B3&b=&c&%41=%25%34%31", Repeated::Refused),
            Ok(json!({"a": "1 2+3", "b": "", "c": "", "A": "%41"}))
        );
        assert_eq!(object(b"", Repeated::Refused), Ok(json!({})));
    }

    #[test]
    fn a_broken_form_is_refused() {
        for body in [&b"a=%"[..], b"a=%4", b"a=%4x", b"a=%+1", b"=1", b"a=1&", b"&a=1", b"a=%ff", b"\xff=1", b"a=1&a=2"]
        {
            assert!(object(body, Repeated::Refused).is_err(), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn a_repeated_field_can_be_a_list() {
        assert_eq!(object(b"a=2&b=x&a=1&a=2", Repeated::Listed), Ok(json!({"a": ["2", "1", "2"], "b": "x"})));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = object(&body, Repeated::Listed);
        }
    }
}
