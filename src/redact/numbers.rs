//! Personal data that has a form: e-mail addresses, IBANs, card and telephone numbers. By hand:
//! each is found from an anchor and checked, in one pass. All return places in order, apart from
//! each other.

/// Ways to write `@` in a URL, in JSON, in HTML.
const AT_SIGNS: [&[u8]; 5] = [b"@", b"%40", b"\\u0040", b"&#64;", b"&commat;"];

/// Ways to write `+`.
const PLUS_SIGNS: [&[u8]; 3] = [b"+", b"%2B", b"%2b"];

/// E-mail addresses (RFC 5321 without quoted local parts), with letters beyond ASCII.
pub(super) fn emails(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let local = |b: u8| b.is_ascii_alphanumeric() || b >= 0x80 || b"._%+-'".contains(&b);
    let domain = |b: u8| b.is_ascii_alphanumeric() || b >= 0x80 || matches!(b, b'.' | b'-');
    let mut found = Vec::new();
    // Nothing before this belongs to the next address.
    let mut floor = 0;
    let mut at = 0;
    while at < bytes.len() {
        let sign = match bytes[at] {
            b'@' | b'%' | b'\\' | b'&' => AT_SIGNS.iter().find(|sign| bytes[at..].starts_with(sign)),
            _ => None,
        };
        let Some(sign) = sign else {
            at += 1;
            continue;
        };
        let start = (floor..at).rev().take_while(|i| local(bytes[*i])).last().unwrap_or(at);
        let after = at + sign.len();
        let mut end = after + bytes[after..].iter().take_while(|b| domain(**b)).count();
        while end > after && matches!(bytes[end - 1], b'.' | b'-') {
            end -= 1;
        }
        floor = after;
        at = after;
        if start < after - sign.len() && is_domain(&text[after..end]) {
            found.push((start, end));
            (floor, at) = (end, end);
        }
    }
    found
}

fn is_domain(domain: &str) -> bool {
    let Some((host, top)) = domain.rsplit_once('.') else { return false };
    let named = top.starts_with("xn--") || !top.bytes().any(|b| b.is_ascii_digit());
    !host.is_empty() && top.len() >= 2 && named && !domain.starts_with('.')
}

/// Telephone numbers in international form: `+` and 8 to 15 digits (E.164), with separators.
pub(super) fn phones(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let sign = match bytes[at] {
            b'+' | b'%' => PLUS_SIGNS.iter().find(|sign| bytes[at..].starts_with(sign)),
            _ => None,
        };
        let Some(sign) = sign else {
            at += 1;
            continue;
        };
        let begins = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        let body = at + sign.len();
        let (mut digits, mut gap, mut end) = (0, 0, None);
        for (index, byte) in bytes.iter().enumerate().skip(body) {
            match byte {
                b'0'..=b'9' => (digits, gap) = (digits + 1, 0),
                b' ' | b'-' | b'.' | b'(' | b')' | b'/' if gap < 3 => gap += 1,
                _ => break,
            }
            if digits > 15 {
                break;
            }
            let group_ends = gap == 0 && bytes.get(index + 1).is_none_or(|b| !b.is_ascii_alphanumeric());
            if digits >= 8 && group_ends {
                end = Some(index + 1);
            }
        }
        match end.filter(|_| begins) {
            Some(end) => {
                found.push((at, end));
                at = end;
            }
            None => at = body,
        }
    }
    found
}

/// Card numbers: 13 to 19 digits, alone or in groups, of a known network, passing Luhn.
pub(super) fn cards(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        // A run of digits with single separators, and where each digit stands.
        let mut places = vec![at];
        let mut next = at + 1;
        while next < bytes.len() {
            if bytes[next].is_ascii_digit() {
                places.push(next);
                next += 1;
            } else if let Some(length) = separator(&bytes[next..])
                && bytes.get(next + length).is_some_and(u8::is_ascii_digit)
                // A dot is more often that of a fraction: between groups of cards stand four digits.
                && (bytes[next] != b'.' || bytes[next + 1..].iter().take_while(|b| b.is_ascii_digit()).count() == 4)
            {
                next += length;
            } else {
                break;
            }
        }
        at = next;
        let mut first = 0;
        while first < places.len() {
            match card_at(bytes, &places[first..]) {
                Some(length) => {
                    found.push((places[first], places[first + length - 1] + 1));
                    first += length;
                }
                None => first += 1,
            }
        }
    }
    found
}

/// What may stand between the groups of a number, and its length: a space (also one that does not
/// break, or the `+` of a form), a hyphen, a dot.
fn separator(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b' ' | b'-' | b'.' | b'+', ..] => Some(1),
        [0xC2, 0xA0, ..] => Some(2),
        [0xE2, 0x80, 0xAF, ..] => Some(3),
        _ => None,
    }
}

/// How many of the digits at `places`, from the first on, make a card number that stands alone.
fn card_at(bytes: &[u8], places: &[usize]) -> Option<usize> {
    let start = places[0];
    if start > 0 && bytes[start - 1].is_ascii_alphanumeric() {
        return None;
    }
    (13..=19.min(places.len())).rev().find(|length| {
        let end = places[length - 1] + 1;
        let alone = bytes.get(end).is_none_or(|b| !b.is_ascii_alphanumeric());
        alone && is_card(places[..*length].iter().map(|place| bytes[*place] - b'0'), *length)
    })
}

/// Whether a number is one of a card.
pub(super) fn is_card_number(number: u64) -> bool {
    let text = number.to_string();
    (13..=19).contains(&text.len()) && is_card(text.bytes().map(|b| b - b'0'), text.len())
}

fn is_card(digits: impl DoubleEndedIterator<Item = u8> + Clone, length: usize) -> bool {
    let prefix = digits.clone().take(4).fold(0_u32, |prefix, digit| prefix * 10 + u32::from(digit));
    // Issuer ranges (ISO/IEC 7812) by network; without them a tenth of all long numbers would pass.
    let network = match prefix {
        4000..=4999 => matches!(length, 16 | 19),
        5100..=5599 | 2221..=2720 => length == 16,
        3400..=3499 | 3700..=3799 => length == 15,
        3000..=3059 | 3600..=3699 | 3800..=3999 => (14..=19).contains(&length),
        3528..=3589 | 6011 | 6440..=6599 | 6200..=6299 => (16..=19).contains(&length),
        5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763 => (13..=19).contains(&length),
        _ => false,
    };
    let sum: u32 = digits
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(digit)) {
            (0, digit) => digit,
            (_, digit) if digit < 5 => digit * 2,
            (_, digit) => digit * 2 - 9,
        })
        .sum();
    network && sum.is_multiple_of(10)
}

/// Lengths of IBANs by country (ISO 13616 registry).
const IBAN_LENGTHS: [(&[u8; 2], usize); 77] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NL", 18),
    (b"NO", 15),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
];

/// IBANs, alone or in groups, of a known country and length, passing mod 97 (ISO 7064).
pub(super) fn ibans(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at + 15 <= bytes.len() {
        let begins = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        match begins.then(|| iban_end(bytes, at)).flatten() {
            Some(end) => {
                found.push((at, end));
                at = end;
            }
            None => at += 1,
        }
    }
    found
}

fn iban_end(bytes: &[u8], start: usize) -> Option<usize> {
    let country = [bytes[start].to_ascii_uppercase(), bytes[start + 1].to_ascii_uppercase()];
    let (_, length) = IBAN_LENGTHS.iter().find(|(code, _)| **code == country)?;
    let mut compact = [0; 34];
    let mut count = 0;
    let mut at = start;
    while count < *length {
        match bytes.get(at)? {
            byte if byte.is_ascii_alphanumeric() => {
                compact[count] = byte.to_ascii_uppercase();
                count += 1;
            }
            _ if bytes[at - 1].is_ascii_alphanumeric() => at += separator(&bytes[at..])? - 1,
            _ => return None,
        }
        at += 1;
    }
    let ends = bytes.get(at).is_none_or(|b| !b.is_ascii_alphanumeric());
    let compact = &compact[..count];
    let remainder = compact[4..].iter().chain(&compact[..4]).fold(0_u32, |remainder, byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        letter => (remainder * 100 + u32::from(letter - b'A') + 10) % 97,
    });
    (ends && compact[2..4].iter().all(u8::is_ascii_digit) && remainder == 1).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, find: fn(&str) -> Vec<(usize, usize)>) -> Vec<&str> {
        find(text).into_iter().map(|(start, end)| &text[start..end]).collect()
    }

    #[test]
    fn addresses_are_found_in_all_their_spellings() {
        assert_eq!(
            found(
                "a: j.doe+x@mail.example.com, <ü@exämple.de>. q=a%40b.co b\\u0040c.org d&#64;e.net f@g.xn--p1ai @f.com g@h i@j.1",
                emails
            ),
            ["j.doe+x@mail.example.com", "ü@exämple.de", "a%40b.co", "b\\u0040c.org", "d&#64;e.net", "f@g.xn--p1ai"],
        );
    }

    #[test]
    fn cards_are_found_alone_and_in_groups() {
        assert_eq!(
            found("4111111111111111, 5500-0000-0000-0004; 3782 822463 10005 12 6011 0009 9013 9424 123", cards),
            ["4111111111111111", "5500-0000-0000-0004", "3782 822463 10005", "6011 0009 9013 9424"],
        );
        let grouped = ["4111+1111+1111+1111", "4111.1111.1111.1111", "4111\u{a0}1111\u{202f}1111 1111"];
        assert_eq!(found(&grouped.join(", "), cards), grouped);
    }

    #[test]
    fn other_long_numbers_are_no_cards() {
        for text in [
            "4111111111111112",
            "1732435200000",
            "820982911946154508",
            "x4111111111111111",
            "41111111111111110000",
            "51.50735091234565",
        ] {
            assert!(cards(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn telephone_numbers_need_their_international_form() {
        assert_eq!(
            found(
                "+1 (415) 555-2671, +4915112345678; From=%2B14158675309, 2026-11-24T08:00:00+00:00 1+2 415-555-2671",
                phones
            ),
            ["+1 (415) 555-2671", "+4915112345678", "%2B14158675309"],
        );
    }

    #[test]
    fn ibans_are_found_by_country_length_and_check_digits() {
        assert_eq!(
            found(
                "DE89370400440532013000 GB82 WEST 1234 5698 7654 32 DE89370400440532013001 FR1420041010050500013M02606",
                ibans
            ),
            ["DE89370400440532013000", "GB82 WEST 1234 5698 7654 32", "FR1420041010050500013M02606"],
        );
        assert_eq!(found("GB82+WEST+1234+5698+7654+32", ibans), ["GB82+WEST+1234+5698+7654+32"]);
    }
}
