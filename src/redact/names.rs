//! What the name of a key says about its value.

use std::borrow::Cow;

use crate::config::PiiPattern;

/// What a key's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// Its value is what this pattern hides, whatever it looks like.
    Telling(PiiPattern),
    /// Its value is an id.
    Id,
    /// Its value is a time.
    Time,
    /// Nothing.
    Plain,
}

/// Names longer than this are judged by their end.
const MAX_NAME: usize = 40;

/// Ends of names (lowercase, without separators) whose values are secrets.
const SECRET_ENDS: [&str; 25] = [
    "password",
    "passwords",
    "passphrases",
    "secrets",
    "apikeys",
    "privatekeys",
    "cookies",
    "signature",
    "connectionstring",
    "jwt",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "credential",
    "credentials",
    "cookie",
    "secretaccesskey",
];
/// Whole names whose values are secrets.
const SECRETS: [&str; 6] = ["pwd", "auth", "bearer", "pin", "otp", "passcode"];
const CARD_ENDS: [&str; 7] = ["cardnumber", "ccnumber", "creditcard", "cardno", "securitycode", "cvc", "cvv"];
const PHONE_ENDS: [&str; 6] = ["phone", "phonenumber", "mobile", "mobilenumber", "msisdn", "fax"];
const IBAN_ENDS: [&str; 1] = ["iban"];
const EMAIL_ENDS: [&str; 3] = ["email", "emailaddress", "mail"];
/// Tokens that page through lists or name a form are no secrets.
const HARMLESS_ENDS: [&str; 4] = ["pagetoken", "nexttoken", "continuationtoken", "synctoken"];

const IDS: [&str; 14] = [
    "id",
    "ids",
    "sid",
    "uuid",
    "guid",
    "sha",
    "oid",
    "etag",
    "ref",
    "before",
    "after",
    "fingerprint",
    "delivery",
    "traceparent",
];
/// Ends of names of ids, with the separator or the capital that makes them a word of their own.
const ID_ENDS: [&str; 12] = ["_id", "_ids", "-id", "Id", "Ids", "ID", "IDs", "Sid", "_sid", "_sha", "_uuid", "Uuid"];

const TIMES: [&str; 14] = [
    "created",
    "updated",
    "modified",
    "timestamp",
    "ts",
    "time",
    "date",
    "expires",
    "expiry",
    "iat",
    "exp",
    "nbf",
    "start",
    "end",
];
const TIME_ENDS: [&str; 13] = [
    "_at",
    "At",
    "_ts",
    "_time",
    "Time",
    "_timestamp",
    "Timestamp",
    "-timestamp",
    "_date",
    "Date",
    "_on",
    "-time",
    "-at",
];

impl Name {
    /// Reads a key's name.
    pub fn of(key: &str) -> Self {
        let mut folded = [0; MAX_NAME];
        let folded = fold(key, &mut folded);
        if let Some(pattern) = telling(folded) {
            Self::Telling(pattern)
        } else if IDS.contains(&key) || ends_with_any(key, &ID_ENDS) {
            Self::Id
        } else if TIMES.contains(&key) || ends_with_any(key, &TIME_ENDS) {
            Self::Time
        } else {
            Self::Plain
        }
    }

    /// What the name says once it is `redacted`, which can undo escapes in it; a telling one goes on telling.
    #[expect(clippy::ptr_arg, reason = "whether it is borrowed says whether redaction changed it")]
    pub(super) fn once_redacted(self, redacted: &Cow<'_, str>) -> Self {
        match (self, redacted) {
            (Self::Telling(_), _) | (_, Cow::Borrowed(_)) => self,
            (_, Cow::Owned(redacted)) => Self::of(redacted),
        }
    }
}

/// The last letters and digits of a name in lowercase, without separators and without a number at
/// its end (`password2`).
fn fold<'b>(key: &str, buffer: &'b mut [u8; MAX_NAME]) -> &'b str {
    let mut at = MAX_NAME;
    let letters = key.bytes().rev().filter(u8::is_ascii_alphanumeric).skip_while(u8::is_ascii_digit);
    for byte in letters.take(MAX_NAME) {
        at -= 1;
        buffer[at] = byte.to_ascii_lowercase();
    }
    std::str::from_utf8(&buffer[at..]).unwrap_or_default()
}

/// The last bytes are compared first: most names stop there, without a call.
fn ends_with_any(name: &str, ends: &[&str]) -> bool {
    let last = name.as_bytes().last();
    ends.iter().any(|end| end.as_bytes().last() == last && name.ends_with(end))
}

fn telling(name: &str) -> Option<PiiPattern> {
    let ends = |ends: &[&str]| ends_with_any(name, ends);
    // The last letters of all lists; most names stop here.
    if !name.bytes().last()?.is_ascii_lowercase() || name.len() < 3 {
        return None;
    }
    if (ends(&SECRET_ENDS) && !ends(&HARMLESS_ENDS)) || SECRETS.contains(&name) {
        Some(PiiPattern::Secret)
    } else if ends(&CARD_ENDS) {
        Some(PiiPattern::Card)
    } else if ends(&PHONE_ENDS) {
        Some(PiiPattern::Phone)
    } else if ends(&IBAN_ENDS) {
        Some(PiiPattern::Iban)
    } else if ends(&EMAIL_ENDS) {
        Some(PiiPattern::Email)
    } else {
        None
    }
}

/// Whether the value under a telling name is what the name tells. Under `password` anything is;
/// under `phone` only what could be dialled, under `email` only what has an `@`.
pub(super) fn is_told(pattern: PiiPattern, text: &str) -> bool {
    let digits = || text.bytes().filter(u8::is_ascii_digit).count();
    match pattern {
        PiiPattern::Secret => !text.is_empty(),
        PiiPattern::Card => (3..=19).contains(&digits()) && text.len() <= 32,
        PiiPattern::Iban => digits() >= 8,
        PiiPattern::Phone => {
            (5..=15).contains(&digits())
                && text.len() <= 32
                && text.bytes().all(|b| b.is_ascii_digit() || b" +-./()x".contains(&b))
        }
        PiiPattern::Email => text.contains('@') && text.len() <= 320 && !text.contains(char::is_whitespace),
    }
}

/// Whether the value under an id's name is one.
pub(super) fn is_id(text: &str) -> bool {
    text.len() <= 255 && !text.bytes().any(|b| b == b'@' || b.is_ascii_whitespace())
}

/// Whether the value under a time's name is one: only the characters of RFC 3339, RFC 9110 and
/// epoch times, and no longer than those.
pub(super) fn is_time(text: &str) -> bool {
    text.len() <= 40 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_alphabetic() || b" :.,+-/".contains(&b))
}

/// Whether a text is a UUID.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_their_values_are() {
        use PiiPattern::{Card, Email, Iban, Phone, Secret};
        for (key, name) in [
            ("password", Name::Telling(Secret)),
            ("newPassword", Name::Telling(Secret)),
            ("API-Key", Name::Telling(Secret)),
            ("client_secret", Name::Telling(Secret)),
            ("password_2", Name::Telling(Secret)),
            ("X-Amz-Signature", Name::Telling(Secret)),
            ("cvv2", Name::Telling(Card)),
            ("sha1", Name::Plain),
            ("42", Name::Plain),
            ("X-Auth-Token", Name::Telling(Secret)),
            ("Authorization", Name::Telling(Secret)),
            ("card_number", Name::Telling(Card)),
            ("customer_phone", Name::Telling(Phone)),
            ("iban", Name::Telling(Iban)),
            ("receipt_email", Name::Telling(Email)),
            ("next_page_token", Name::Plain),
            ("prompt_tokens", Name::Plain),
            ("keyboard", Name::Plain),
            ("id", Name::Id),
            ("customer_id", Name::Id),
            ("MessageSid", Name::Id),
            ("paid", Name::Plain),
            ("created", Name::Time),
            ("createdAt", Name::Time),
            ("format", Name::Plain),
            ("", Name::Plain),
        ] {
            assert_eq!(Name::of(key), name, "{key}");
        }
    }
}
