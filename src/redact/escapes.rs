//! Escapes that hide what a pattern would find: of URLs, of JSON and other string literals, of HTML.

/// Named character references of what addresses, numbers and assignments are written with.
const NAMED: [(&[u8], u8); 7] = [
    (b"&commat;", b'@'),
    (b"&plus;", b'+'),
    (b"&period;", b'.'),
    (b"&equals;", b'='),
    (b"&colon;", b':'),
    (b"&quot;", b'"'),
    (b"&amp;", b'&'),
];

/// The text with one layer of escapes undone; none: it has none.
pub(super) fn undone(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut undone = Vec::new();
    let (mut done, mut at) = (0, 0);
    while let Some(offset) = bytes[at..].iter().position(|byte| matches!(byte, b'%' | b'\\' | b'&')) {
        at += offset;
        match escape(&bytes[at..]) {
            Some((length, meant)) => {
                undone.extend_from_slice(&bytes[done..at]);
                match meant {
                    Meant::Byte(byte) => undone.push(byte),
                    Meant::Char(char) => undone.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
                }
                at += length;
                done = at;
            }
            None => at += 1,
        }
    }
    if done == 0 {
        return None;
    }
    undone.extend_from_slice(&bytes[done..]);
    Some(String::from_utf8(undone).unwrap_or_else(|bytes| String::from_utf8_lossy(bytes.as_bytes()).into_owned()))
}

enum Meant {
    /// A byte of UTF-8 (URLs).
    Byte(u8),
    Char(char),
}

/// The escape at the beginning of `bytes`: its length and what it means.
fn escape(bytes: &[u8]) -> Option<(usize, Meant)> {
    match bytes {
        [b'%', rest @ ..] => Some((3, Meant::Byte(u8::try_from(hex(rest.get(..2)?)?).ok()?))),
        [b'\\', b'u', rest @ ..] => Some((6, Meant::Char(char::from_u32(hex(rest.get(..4)?)?)?))),
        [b'\\', b'x', rest @ ..] => Some((4, Meant::Char(char::from_u32(hex(rest.get(..2)?)?)?))),
        [b'\\', quoted @ (b'"' | b'\'' | b'\\' | b'/'), ..] => Some((2, Meant::Byte(*quoted))),
        [b'&', b'#', b'x' | b'X', rest @ ..] => numeric(rest, 16).map(|(length, char)| (length + 3, Meant::Char(char))),
        [b'&', b'#', rest @ ..] => numeric(rest, 10).map(|(length, char)| (length + 2, Meant::Char(char))),
        [b'&', ..] => {
            let (name, byte) = NAMED.iter().find(|(name, _)| bytes.starts_with(name))?;
            Some((name.len(), Meant::Byte(*byte)))
        }
        _ => None,
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
}

/// The digits of a numeric character reference up to its `;`, and its length with that.
fn numeric(rest: &[u8], radix: u32) -> Option<(usize, char)> {
    let length = rest.iter().take(8).position(|byte| *byte == b';').filter(|length| *length > 0)?;
    let number = rest[..length]
        .iter()
        .try_fold(0_u32, |number, digit| number.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?))?;
    Some((length + 1, char::from_u32(number)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_layer_of_each_kind_is_undone() {
        for (text, expected) in [
            ("a%40b", "a@b"),
            ("%C3%a9", "é"),
            (r"a\u0040b", "a@b"),
            (r"a\x40b", "a@b"),
            (r#"{\"a\":1}"#, r#"{"a":1}"#),
            (r"\\u0040", r"\u0040"),
            ("a&#64;b&#x40;c&commat;d&amp;#64;", "a@b@c@d&#64;"),
            ("%2540", "%40"),
        ] {
            assert_eq!(undone(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_escape_stays() {
        for text in [
            "",
            "100 %",
            "%",
            "%4",
            "%zz",
            r"\",
            r"\u",
            r"\u00",
            r"\uzzzz",
            r"\ud83d",
            "&",
            "&#;",
            "&#x;",
            "&#99999999;",
            "R&D",
        ] {
            assert_eq!(undone(text), None, "{text}");
        }
    }
}
