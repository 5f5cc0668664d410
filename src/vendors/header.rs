//! Headers that carry a signature or a part of the envelope: there once, in visible ASCII, short.

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};

use super::{Malformed, Refusal, Request};

/// The longest signature header in bytes (DESIGN §10).
const MAX_SIGNATURE_HEADER: usize = 4096;

/// The one value of a header that the scheme needs. Missing and malformed are told apart for the
/// operator; a header that is there twice is malformed, since proxies disagree which one counts.
pub(super) fn needed<'r>(request: &Request<'r>, name: &HeaderName) -> Result<&'r str, Refusal> {
    optional(request.headers, name)?.ok_or(Refusal::MissingSignature)
}

/// The one value of a header that may be absent.
pub(super) fn optional<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<Option<&'r str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || value.len() > MAX_SIGNATURE_HEADER {
        return Err(Refusal::MalformedSignature);
    }
    value.to_str().map(Some).map_err(|_| Refusal::MalformedSignature)
}

/// The one value of a header that is part of the envelope.
pub(super) fn envelope<'r>(request: &Request<'r>, name: &HeaderName) -> Result<Option<&'r str>, Malformed> {
    optional(request.headers, name).map_err(|_| Malformed(format!("header {name} is there twice or not text").into()))
}

/// The one value of a header that the envelope cannot do without.
pub(super) fn envelope_needed<'r>(request: &Request<'r>, name: &HeaderName) -> Result<&'r str, Malformed> {
    envelope(request, name)?.ok_or_else(|| Malformed(format!("header {name} is missing").into()))
}

/// Whether the body is declared to be an HTML form.
pub(super) fn is_form(request: &Request<'_>) -> bool {
    const FORM: &str = "application/x-www-form-urlencoded";
    request
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(FORM))
}

/// A header value we made ourselves.
pub(super) fn made(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
