//! The `scheme` table of a custom source, checked key by key.

use http::HeaderName;

use super::template::Template;
use crate::{
    secrets::Secret,
    vendors::{InvalidOption, asymmetric, field, options::Options},
};

/// A scheme that holds together: what it uses it has, and what it signs can be read in one way only.
#[derive(Debug)]
pub(super) struct Scheme {
    pub(super) algorithm: Algorithm,
    pub(super) signature: HeaderName,
    pub(super) prefix: String,
    pub(super) encoding: Encoding,
    pub(super) signed: Template,
    pub(super) timestamp: Option<Time>,
    pub(super) id: Option<Place>,
    pub(super) event_type: Type,
    pub(super) subject: Option<Place>,
    pub(super) occurred_at: Option<Time>,
    pub(super) handshake: Option<Handshake>,
}

/// How the signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hmac(Hash),
    Public(asymmetric::Algorithm),
    /// The header holds the secret itself.
    Token,
}

/// The hash of an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

/// How the signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Hex,
    Base64,
    Base64Url,
}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Header(HeaderName),
    /// An RFC 6901 pointer into the body.
    Pointer(String),
}

/// Where a time stands, and how it is written.
#[derive(Debug, Clone)]
pub(super) struct Time {
    pub(super) place: Place,
    pub(super) unit: Unit,
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Millis,
    Rfc3339,
}

/// Where the event's type comes from.
#[derive(Debug, Clone)]
pub(super) enum Type {
    At(Place),
    Fixed(String),
}

/// The GET handshake of Meta and its like: the token is compared, the challenge echoed.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) query_token: String,
    pub(super) query_challenge: String,
    pub(super) token: Secret,
}

const ALGORITHMS: [(&str, Algorithm); 7] = [
    ("hmac-sha1", Algorithm::Hmac(Hash::Sha1)),
    ("hmac-sha256", Algorithm::Hmac(Hash::Sha256)),
    ("hmac-sha512", Algorithm::Hmac(Hash::Sha512)),
    ("ed25519", Algorithm::Public(asymmetric::Algorithm::Ed25519)),
    ("ecdsa-p256-sha256", Algorithm::Public(asymmetric::Algorithm::EcdsaP256)),
    ("rsa-sha256", Algorithm::Public(asymmetric::Algorithm::Rsa)),
    ("token", Algorithm::Token),
];

const ENCODINGS: [(&str, Encoding); 3] =
    [("hex", Encoding::Hex), ("base64", Encoding::Base64), ("base64url", Encoding::Base64Url)];

const UNITS: [(&str, Unit); 3] = [("s", Unit::Seconds), ("ms", Unit::Millis), ("rfc3339", Unit::Rfc3339)];

/// The schemes of references to secrets; one of them in a value means that nobody looked it up.
const REFERENCES: [&str; 4] = ["env:", "file:", "aws-sm:", "vault:"];

impl Scheme {
    /// Reads the vendor's keys of a source.
    pub(super) fn read(options: &toml::Table) -> Result<Self, InvalidOption> {
        let mut outer = Options::new(options);
        let mut table = outer.needed_table("scheme", "a table that says how the sender signs")?;
        outer.finish()?;
        let algorithm = table.word("algorithm", &ALGORITHMS)?;
        let algorithm = algorithm.ok_or_else(|| table.invalid("algorithm", "is missing: such as hmac-sha256"))?;
        let mut signature =
            table.needed_table("signature", "such as { header = \"X-Signature\", encoding = \"hex\" }")?;
        let header = header(&mut signature)?.ok_or_else(|| signature.invalid("header", "is missing"))?;
        let prefix = signature.text("prefix")?.unwrap_or_default();
        let encoding = signature.word("encoding", &ENCODINGS)?;
        let encoding = match (encoding, algorithm) {
            (None, Algorithm::Token) => Encoding::Hex,
            (Some(_), Algorithm::Token) => return Err(signature.invalid("encoding", "a token is compared as it is")),
            (Some(encoding), _) => encoding,
            (None, _) => return Err(signature.invalid("encoding", "is missing: hex, base64 or base64url")),
        };
        signature.finish()?;
        let signed = match (table.text("signed")?, algorithm) {
            (None, Algorithm::Token) => Template::default(),
            (Some(_), Algorithm::Token) => return Err(table.invalid("signed", "a token signs nothing")),
            (Some(text), _) => Template::parse(&text).map_err(|reason| table.invalid("signed", reason))?,
            (None, _) => return Err(table.invalid("signed", "is missing: such as \"{timestamp}.{body}\"")),
        };
        let scheme = Self {
            algorithm,
            signature: header,
            prefix,
            encoding,
            signed,
            timestamp: time(&mut table, "timestamp", Unit::Seconds)?,
            id: place(&mut table, "id")?,
            event_type: event_type(&mut table)?,
            subject: place(&mut table, "subject")?,
            occurred_at: time(&mut table, "occurred_at", Unit::Rfc3339)?,
            handshake: handshake(&mut table)?,
        };
        scheme.check(&table)?;
        table.finish()?;
        Ok(scheme)
    }

    fn check(&self, table: &Options) -> Result<(), InvalidOption> {
        if self.algorithm == Algorithm::Token {
            return match self.timestamp {
                Some(_) => Err(table.invalid("timestamp", "a token signs no time")),
                None => Ok(()),
            };
        }
        match &self.timestamp {
            Some(time) if !self.signed.contains_timestamp() && !self.is_signed(&time.place) => {
                return Err(table.invalid("timestamp", "is not part of `signed`, so anybody could change it"));
            }
            None if self.signed.contains_timestamp() => {
                return Err(table.invalid("timestamp", "is missing, and `signed` contains it"));
            }
            Some(_) | None => {}
        }
        if self.signed.contains_id() && !matches!(self.id, Some(Place::Header(_))) {
            return Err(table.invalid("id", "must be a header, since `signed` contains it beside the body"));
        }
        Ok(())
    }

    /// Whether the signature covers what stands there.
    pub(super) fn is_signed(&self, place: &Place) -> bool {
        self.algorithm != Algorithm::Token
            && match place {
                Place::Pointer(_) => true,
                Place::Header(name) => {
                    let is = |other: Option<&Place>| matches!(other, Some(Place::Header(other)) if other == name);
                    self.signed.contains_header(name)
                        || self.signed.contains_id() && is(self.id.as_ref())
                        || self.signed.contains_timestamp() && is(self.timestamp.as_ref().map(|time| &time.place))
                }
            }
    }

    /// Whether the signature covers the event's id; a digest of a signed body counts as covered.
    pub(super) fn id_is_signed(&self) -> bool {
        match &self.id {
            Some(place) => self.is_signed(place),
            None => self.algorithm != Algorithm::Token,
        }
    }
}

fn header(table: &mut Options) -> Result<Option<HeaderName>, InvalidOption> {
    let Some(text) = table.text("header")? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| table.invalid("header", "is not a header's name"))
}

/// Reads `header` or `pointer` of a table.
fn either(table: &mut Options) -> Result<Option<Place>, InvalidOption> {
    let pointer = table.text("pointer")?;
    match (header(table)?, pointer) {
        (Some(name), None) => Ok(Some(Place::Header(name))),
        (None, Some(pointer)) if pointer.starts_with('/') => Ok(Some(Place::Pointer(pointer))),
        (None, Some(_)) => Err(table.invalid("pointer", "must start with `/`, as RFC 6901 has it")),
        (Some(_), Some(_)) => Err(table.invalid("pointer", "give a header or a pointer, not both")),
        (None, None) => Ok(None),
    }
}

fn place(table: &mut Options, key: &str) -> Result<Option<Place>, InvalidOption> {
    let Some(mut inner) = table.table(key)? else { return Ok(None) };
    let place = either(&mut inner)?.ok_or_else(|| table.invalid(key, "needs a header or a pointer"))?;
    inner.finish()?;
    Ok(Some(place))
}

fn time(table: &mut Options, key: &str, usual: Unit) -> Result<Option<Time>, InvalidOption> {
    let Some(mut inner) = table.table(key)? else { return Ok(None) };
    let unit = inner.word("unit", &UNITS)?.unwrap_or(usual);
    let place = either(&mut inner)?.ok_or_else(|| table.invalid(key, "needs a header or a pointer"))?;
    inner.finish()?;
    Ok(Some(Time { place, unit }))
}

fn event_type(table: &mut Options) -> Result<Type, InvalidOption> {
    let Some(mut inner) = table.table("type")? else { return Ok(Type::Fixed("event".to_owned())) };
    let value = inner.text("value")?;
    let event_type = match (either(&mut inner)?, value) {
        (Some(place), None) => Type::At(place),
        (None, Some(value)) => Type::Fixed(field::event_type(value).map_err(|error| inner.invalid("value", error.0))?),
        _ => return Err(table.invalid("type", "needs one of header, pointer and value")),
    };
    inner.finish()?;
    Ok(event_type)
}

fn handshake(table: &mut Options) -> Result<Option<Handshake>, InvalidOption> {
    let Some(mut inner) = table.table("handshake")? else { return Ok(None) };
    let query_token = inner.needed("query_token", "such as hub.verify_token")?;
    let query_challenge = inner.needed("query_challenge", "such as hub.challenge")?;
    let token = inner.needed("token", "the token that the sender's settings ask for")?;
    if REFERENCES.iter().any(|reference| token.starts_with(reference)) {
        return Err(inner.invalid("token", "was not looked up"));
    }
    inner.finish()?;
    Ok(Some(Handshake { query_token, query_challenge, token: Secret::new(token.into_bytes()) }))
}
