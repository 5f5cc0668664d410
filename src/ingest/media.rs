//! Media types: exact, or not at all (RFC 9110 §8.3).

use http::{HeaderMap, header};

/// Whether the body is of one of `accepted` (lowercase, without parameters): exactly one
/// `Content-Type`, no parameter but `charset=utf-8`, and no `Content-Encoding`, whatever it says.
pub(super) fn is_one_of(headers: &HeaderMap, accepted: &[&str]) -> bool {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return false;
    }
    let mut values = headers.get_all(header::CONTENT_TYPE).into_iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(|part| part.trim_matches([' ', '\t']));
    let media_type = parts.next().unwrap_or_default();
    accepted.iter().any(|accepted| accepted.eq_ignore_ascii_case(media_type)) && parts.all(is_utf8_charset)
}

fn is_utf8_charset(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    name.eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_media_type_passes() {
        for (lines, passes) in [
            (&["content-type: application/json"][..], true),
            (&["content-type: Application/JSON"], true),
            (&["content-type: application/json; charset=utf-8"], true),
            (&["content-type: application/json;charset=\"UTF-8\""], true),
            (&["content-type: application/json ; Charset=Utf-8"], true),
            (&["content-type: application/json; charset=latin1"], false),
            (&["content-type: application/json; boundary=x"], false),
            (&["content-type: application/json; charset=utf-8; boundary=x"], false),
            (&["content-type: application/json;"], false),
            (&["content-type: application/json, text/plain"], false),
            (&["content-type: application/jsonx"], false),
            (&["content-type: application"], false),
            (&["content-type: multipart/form-data; boundary=x"], false),
            (&["content-type: text/plain"], false),
            (&["content-type: "], false),
            (&[], false),
            (&["content-type: application/json", "content-type: application/json"], false),
            (&["content-type: application/json", "content-encoding: gzip"], false),
            (&["content-type: application/json", "content-encoding: identity"], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                let (name, value) = line.split_once(": ").expect("a header");
                headers.append(http::HeaderName::try_from(name).expect("a name"), value.parse().expect("a value"));
            }
            assert_eq!(is_one_of(&headers, &["application/json"]), passes, "{lines:?}");
        }
    }
}
