//! Why a delivery did not verify, found by trying what usually went wrong: the request is changed in
//! one known way and verified again; the change that makes it verify is the cause.
//!
//! Nothing here shows a key, a signature or a part of a body. It runs only on what was already
//! refused, and what it finds goes to the operator, never to the sender.

use std::{borrow::Cow, fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use sluice_actors::domain::Timestamp;

use crate::{
    config::{LiveKey, Source, Tenant},
    secrets::Secret,
    vendors::{Key, Refusal, Request, Verified},
};

/// A refused request with what it could have been meant for.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The source that refused it.
    pub source: &'a Source,
    /// Its tenant, for a mix-up with another source of the same tenant. Other tenants are never
    /// looked at.
    pub tenant: Option<&'a Tenant>,
    /// The request, whole and unredacted.
    pub request: Request<'a>,
    /// What verification said.
    pub refusal: Refusal,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The source is switched off.
    Disabled,
    /// No secret of the source is valid any more (or none is configured).
    NoLiveSecret,
    /// The signature fits; its time lies `seconds` before (positive) or after (negative) our clock.
    Clock {
        /// Our clock minus the signed time.
        seconds: i64,
        /// What is tolerated.
        tolerance: u64,
    },
    /// Made with a secret of this source that has ended.
    EndedSecret {
        /// Its label.
        version: String,
        /// When it ended.
        ended: Timestamp,
    },
    /// Made with a secret of this source that was revoked.
    RevokedSecret {
        /// Its label.
        version: String,
    },
    /// It verifies as a delivery of another source of the tenant: the vendor calls the wrong URL.
    OtherSource {
        /// That source.
        source: String,
    },
    /// Made with the secret of another source of the tenant.
    OtherSecret {
        /// That source.
        source: String,
    },
    /// The body was changed on the way, or the sender signs it in another form.
    Body(BodyChange),
    /// The sender keys its MAC with another form of the secret.
    SecretForm(SecretForm),
    /// The signature is right but written in another way.
    Notation {
        /// The header.
        header: String,
        /// How it is written.
        how: Notation,
    },
    /// The signature covers another URL than `edge.public_url` says.
    Url {
        /// The origin that it covers.
        origin: String,
    },
    /// A header that the scheme needs is missing, and the headers look like another vendor's.
    LooksLike {
        /// That vendor.
        vendor: &'static str,
    },
    /// Nothing of the above: the refusal itself is all that is known.
    Unknown(Refusal),
}

/// How a body differs from the one that was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is spelt out by its Display")]
pub enum BodyChange {
    NewlineAdded,
    NewlineRemoved,
    LineEndings,
    Minified,
    ByteOrderMark,
    Empty,
}

/// The form of a secret that a sender used as its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is spelt out by its Display")]
pub enum SecretForm {
    WhsecText,
    Base64Text,
    DecodedBase64,
    DecodedHex,
    HexText,
    Trimmed,
    TrailingNewline,
}

/// How a signature was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is spelt out by its Display")]
pub enum Notation {
    HexForBase64,
    Base64ForHex,
    PrefixMissing(&'static str),
    PrefixUnexpected,
    Uppercase,
}

/// A larger body is tried only as it is: each attempt costs a MAC over it.
const MAX_VARIED_BODY: usize = 64 * 1024;
/// As far as a wrong clock is told from a wrong key: a hundred years.
const ANY_TIME: Duration = Duration::from_hours(100 * 365 * 24);

/// Finds why `case` did not verify. Costs at most some dozens of verifications.
pub fn diagnose(case: &Case<'_>) -> Finding {
    match case.refusal {
        Refusal::Disabled => Finding::Disabled,
        Refusal::NoLiveSecret => ended_secret(case).unwrap_or(Finding::NoLiveSecret),
        // A request alone does not tell who sent it.
        Refusal::UnknownEndpoint
        | Refusal::AddressNotAllowed
        | Refusal::CertificateMissing
        | Refusal::CertificateInvalid
        | Refusal::CertificateExpired
        | Refusal::CertificateNotAccepted => Finding::Unknown(case.refusal),
        Refusal::StaleTimestamp | Refusal::FutureTimestamp => clock(case)
            .or_else(|| ended_secret(case))
            .or_else(|| other_source(case))
            .unwrap_or(Finding::Unknown(case.refusal)),
        Refusal::MissingSignature => {
            other_source(case).or_else(|| looks_like(case)).unwrap_or(Finding::Unknown(case.refusal))
        }
        Refusal::MalformedSignature | Refusal::BadSignature => ended_secret(case)
            .or_else(|| notation(case))
            .or_else(|| secret_form(case))
            .or_else(|| body(case))
            .or_else(|| url(case))
            .or_else(|| other_source(case))
            .or_else(|| looks_like(case))
            .unwrap_or(Finding::Unknown(case.refusal)),
    }
}

impl Case<'_> {
    fn live(&self) -> Vec<Key> {
        self.keys(|key| key.is_live(self.request.now))
    }

    fn keys(&self, wanted: impl Fn(&LiveKey) -> bool) -> Vec<Key> {
        self.source.keys.iter().filter(|key| wanted(key)).map(|key| key.key.clone()).collect()
    }

    /// Verifies a changed request at any time: a cause is one whether or not the clock is wrong too.
    fn verify(&self, request: &Request<'_>, keys: &[Key]) -> Option<Verified> {
        if keys.is_empty() {
            return None;
        }
        self.source.vendor.verify(request, keys, ANY_TIME).ok()
    }

    fn with_body(&self, body: &[u8]) -> bool {
        self.verify(&Request { body, ..self.request }, &self.live()).is_some()
    }

    fn with_headers(&self, headers: &HeaderMap) -> bool {
        self.verify(&Request { headers, ..self.request }, &self.live()).is_some()
    }
}

fn clock(case: &Case<'_>) -> Option<Finding> {
    let signed_at = case.verify(&case.request, &case.live())?.signed_at?;
    let seconds = case.request.now.as_secs() - signed_at.as_secs();
    Some(Finding::Clock { seconds, tolerance: case.source.tolerance.as_secs() })
}

fn ended_secret(case: &Case<'_>) -> Option<Finding> {
    case.source.keys.iter().find_map(|key| {
        let ended = key.not_after.filter(|end| *end <= case.request.now);
        if ended.is_none() && !key.is_revoked() {
            return None;
        }
        case.verify(&case.request, std::slice::from_ref(&key.key))?;
        let version = key.version.to_string();
        Some(match ended {
            Some(ended) if !key.is_revoked() => Finding::EndedSecret { version, ended },
            _ => Finding::RevokedSecret { version },
        })
    })
}

fn other_source(case: &Case<'_>) -> Option<Finding> {
    let others = case.tenant?.sources.iter().filter(|(name, _)| **name != case.source.lane.source);
    others.into_iter().find_map(|(name, other)| {
        let keys: Vec<Key> = other.keys.iter().map(|key| key.key.clone()).collect();
        let source = || name.to_string();
        if keys.is_empty() {
            None
        } else if other.vendor.verify(&case.request, &keys, ANY_TIME).is_ok() {
            let same = other.vendor.name() == case.source.vendor.name();
            Some(if same {
                Finding::OtherSecret { source: source() }
            } else {
                Finding::OtherSource { source: source() }
            })
        } else {
            case.verify(&case.request, &keys).map(|_| Finding::OtherSecret { source: source() })
        }
    })
}

fn body(case: &Case<'_>) -> Option<Finding> {
    let body = case.request.body;
    if body.len() > MAX_VARIED_BODY || body.is_empty() {
        return None;
    }
    let trimmed = body.trim_ascii_end();
    let newline = [body, b"\n"].concat();
    let lf = String::from_utf8_lossy(body).replace("\r\n", "\n");
    let crlf = lf.replace('\n', "\r\n");
    let bare = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let variants: [(BodyChange, Cow<'_, [u8]>); 7] = [
        (BodyChange::NewlineAdded, trimmed.into()),
        (BodyChange::NewlineRemoved, newline.into()),
        (BodyChange::LineEndings, lf.into_bytes().into()),
        (BodyChange::LineEndings, crlf.into_bytes().into()),
        (BodyChange::Minified, minified(body).into()),
        (BodyChange::ByteOrderMark, bare.into()),
        (BodyChange::Empty, Cow::Borrowed(b"")),
    ];
    let found = variants.iter().find(|(_, changed)| **changed != *body && case.with_body(changed));
    found.map(|(change, _)| Finding::Body(*change))
}

/// JSON without the white space between its tokens.
fn minified(json: &[u8]) -> Vec<u8> {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |byte: &u8| {
        let kept = in_string || !byte.is_ascii_whitespace();
        in_string = if *byte == b'"' && !escaped { !in_string } else { in_string };
        escaped = in_string && *byte == b'\\' && !escaped;
        kept
    };
    json.iter().copied().filter(keep).collect()
}

fn secret_form(case: &Case<'_>) -> Option<Finding> {
    if case.request.body.len() > MAX_VARIED_BODY {
        return None;
    }
    case.live().iter().find_map(|key| {
        let Key::Symmetric(secret) = key else { return None };
        let found = forms(secret.expose()).into_iter().find(|(_, bytes)| {
            let keys = [Key::Symmetric(Secret::new(bytes.clone()))];
            !bytes.is_empty() && bytes != secret.expose() && case.verify(&case.request, &keys).is_some()
        });
        found.map(|(form, _)| Finding::SecretForm(form))
    })
}

/// What a sender may have keyed its MAC with when our key is `key`.
fn forms(key: &[u8]) -> Vec<(SecretForm, Vec<u8>)> {
    let encoded = STANDARD.encode(key);
    let text = key.strip_prefix(b"whsec_").unwrap_or(key);
    let mut forms = vec![
        (SecretForm::WhsecText, format!("whsec_{encoded}").into_bytes()),
        (SecretForm::Base64Text, encoded.into_bytes()),
        (SecretForm::HexText, hex::encode(key).into_bytes()),
        (SecretForm::Trimmed, key.trim_ascii().to_vec()),
        (SecretForm::TrailingNewline, [key, b"\n"].concat()),
    ];
    forms.extend(STANDARD.decode(text).map(|decoded| (SecretForm::DecodedBase64, decoded)));
    forms.extend(hex::decode(text).map(|decoded| (SecretForm::DecodedHex, decoded)));
    forms
}

const PREFIXES: [&str; 6] = ["sha256=", "v1=", "v0=", "v1,", "sha1=", "Bearer "];

fn notation(case: &Case<'_>) -> Option<Finding> {
    if case.request.body.len() > MAX_VARIED_BODY {
        return None;
    }
    let headers = case.request.headers;
    headers.iter().find_map(|(name, value)| {
        let value = value.to_str().ok()?;
        let found = notations(value).into_iter().find(|(_, rewritten)| {
            HeaderValue::from_str(rewritten).is_ok_and(|rewritten| {
                let mut changed = headers.clone();
                changed.insert(name.clone(), rewritten);
                case.with_headers(&changed)
            })
        });
        found.map(|(how, _)| Finding::Notation { header: name.to_string(), how })
    })
}

/// Other ways to write a header value that could hold a signature.
fn notations(value: &str) -> Vec<(Notation, String)> {
    let prefix = PREFIXES.iter().find(|prefix| value.starts_with(**prefix)).copied().unwrap_or_default();
    let signature = &value[prefix.len()..];
    let bytes = hex::decode(signature)
        .map(|bytes| (true, bytes))
        .or_else(|_| STANDARD.decode(signature).map(|bytes| (false, bytes)));
    let Ok((is_hex, bytes)) = bytes else { return Vec::new() };
    if !matches!(bytes.len(), 20 | 32 | 48 | 64) {
        return Vec::new();
    }
    let (hex, base64) = (hex::encode(&bytes), STANDARD.encode(&bytes));
    let (how, other) = if is_hex { (Notation::HexForBase64, &base64) } else { (Notation::Base64ForHex, &hex) };
    let mut notations = vec![(how, format!("{prefix}{other}")), (Notation::Uppercase, format!("{prefix}{hex}"))];
    if prefix.is_empty() {
        notations.extend(PREFIXES.map(|prefix| (Notation::PrefixMissing(prefix), format!("{prefix}{signature}"))));
    } else {
        notations.push((Notation::PrefixUnexpected, signature.to_owned()));
    }
    notations.retain(|(_, rewritten)| rewritten != value);
    notations
}

fn url(case: &Case<'_>) -> Option<Finding> {
    if !case.source.vendor.profile().signs_url {
        return None;
    }
    let (scheme, rest) = case.request.url.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = case.request.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or(authority);
    let other = if scheme == "https" { "http" } else { "https" };
    let origins = [(other, authority), (scheme, host), (other, host)];
    origins.into_iter().map(|(scheme, authority)| format!("{scheme}://{authority}")).find_map(|origin| {
        let url = format!("{origin}{path}");
        let signed = case.verify(&Request { url: &url, ..case.request }, &case.live()).is_some();
        signed.then_some(Finding::Url { origin })
    })
}

/// Headers that only one vendor sends.
const TELLING_HEADERS: [(&str, &str); 13] = [
    ("stripe-signature", "stripe"),
    ("x-slack-signature", "slack"),
    ("x-hub-signature-256", "github"),
    ("x-shopify-hmac-sha256", "shopify"),
    ("x-hubspot-signature-v3", "hubspot"),
    ("x-notion-signature", "notion"),
    ("linear-signature", "linear"),
    ("x-zm-signature", "zoom"),
    ("x-twilio-signature", "twilio"),
    ("x-signature-ed25519", "discord"),
    ("x-twilio-email-event-webhook-signature", "sendgrid"),
    ("paypal-transmission-sig", "paypal"),
    ("svix-signature", "svix"),
];

fn looks_like(case: &Case<'_>) -> Option<Finding> {
    let own = case.source.vendor.name();
    let telling = |header: &str| HeaderName::try_from(header).is_ok_and(|name| case.request.headers.contains_key(name));
    let (_, vendor) = TELLING_HEADERS.iter().find(|(header, vendor)| *vendor != own && telling(header))?;
    Some(Finding::LooksLike { vendor })
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => {
                f.write_str("the source is switched off: `sluice source enable`, or `enabled = true` in its file")
            }
            Self::NoLiveSecret => {
                f.write_str("the source has no secret that is still valid: add one, or move its `not_after`")
            }
            Self::Clock { seconds, tolerance } => {
                let (n, side) = (seconds.unsigned_abs(), if *seconds < 0 { "ahead of" } else { "behind" });
                write!(
                    f,
                    "the signature is right, but its time lies {n} s {side} our clock (tolerance {tolerance} s): \
                     compare both clocks; if they agree, it was sent late or replayed"
                )
            }
            Self::EndedSecret { version, ended } => write!(
                f,
                "signed with the secret {version}, which ended at {ended}: the vendor still uses the old secret"
            ),
            Self::RevokedSecret { version } => write!(
                f,
                "signed with the secret {version}, which was revoked: the vendor still uses it, or who has it forges"
            ),
            Self::OtherSource { source } => {
                write!(f, "it verifies as a delivery of the source `{source}`: the vendor calls the wrong URL")
            }
            Self::OtherSecret { source } => {
                write!(f, "signed with the secret of the source `{source}`: two secrets or two URLs are mixed up")
            }
            Self::Body(change) => write!(f, "{change}: sign, and forward, the raw bytes"),
            Self::SecretForm(form) => write!(f, "the sender keys its MAC with {form}"),
            Self::Notation { header, how } => write!(f, "the signature in `{header}` is right, but {how}"),
            Self::Url { origin } => {
                write!(f, "the signature covers a URL at {origin}: set `edge.public_url` to what the vendor calls")
            }
            Self::LooksLike { vendor } => {
                write!(f, "the headers are those of {vendor}: check the source's `vendor` and the URL at the vendor's")
            }
            Self::Unknown(refusal) => f.write_str(match refusal {
                Refusal::MissingSignature => "a header that the scheme needs is missing: the sender does not sign",
                Refusal::MalformedSignature => "a signature or timestamp header is not of the scheme's form",
                Refusal::BadSignature => "made with another secret, or over other bytes than arrived",
                Refusal::StaleTimestamp => "signed too long ago, and not with a secret of this source",
                Refusal::FutureTimestamp => "signed in the future, and not with a secret of this source",
                Refusal::UnknownEndpoint => "no such tenant or source",
                Refusal::Disabled => "the source is switched off",
                Refusal::NoLiveSecret => "the source has no secret that is still valid",
                Refusal::AddressNotAllowed => "the client's address is not in the source's `allow_from`",
                Refusal::CertificateMissing => "the client showed no certificate",
                Refusal::CertificateInvalid => {
                    "the client's certificate cannot be read, or nobody that is trusted issued it"
                }
                Refusal::CertificateExpired => "the client's certificate is not valid at this time",
                Refusal::CertificateNotAccepted => "the client's certificate is none that the source names",
            }),
        }
    }
}

impl fmt::Display for BodyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NewlineAdded => "the body ends with white space that was not signed",
            Self::NewlineRemoved => "the signed body ended with a newline that did not arrive",
            Self::LineEndings => "line endings differ between what was signed and what arrived",
            Self::Minified => "the body was signed without white space and arrived with it (parsed and written anew)",
            Self::ByteOrderMark => "the body arrived with a byte order mark that was not signed",
            Self::Empty => "the sender signs an empty body",
        })
    }
}

impl fmt::Display for SecretForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WhsecText => "the text `whsec_…` itself; the scheme decodes what follows the prefix",
            Self::Base64Text => "the base64 text of the secret; the scheme decodes it",
            Self::DecodedBase64 => "the decoded secret; this scheme takes its text as it is",
            Self::DecodedHex => "the secret decoded from hexadecimal; this scheme takes its text as it is",
            Self::HexText => "the hexadecimal text of the secret; the scheme decodes it",
            Self::Trimmed => "the secret without the white space around it; ours has some",
            Self::TrailingNewline => "the secret and a newline after it; theirs has one too many",
        })
    }
}

impl fmt::Display for Notation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HexForBase64 => f.write_str("written in hexadecimal where base64 is expected"),
            Self::Base64ForHex => f.write_str("written in base64 where hexadecimal is expected"),
            Self::PrefixMissing(prefix) => write!(f, "the prefix `{prefix}` is missing"),
            Self::PrefixUnexpected => f.write_str("it has a prefix that the scheme does not expect"),
            Self::Uppercase => f.write_str("written in upper case where lower case is expected"),
        }
    }
}

#[cfg(test)]
mod tests;
