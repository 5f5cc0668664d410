//! Keys and tokens in well-known forms, and what follows a telling word in a text.

use std::sync::LazyLock;

use regex::Regex;

use super::{MASK, is_digest};

/// Shorter runs of token characters hold no token of a well-known form.
pub(super) const MIN_TOKEN: usize = 16;

const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";

/// Well-known forms. Each begins with a fixed text and ends where its characters end, so one pass
/// decides.
static TOKENS: LazyLock<Regex> = LazyLock::new(|| {
    let forms = [
        // OpenAI, Anthropic and others; Stripe's secret, restricted and webhook keys.
        r"sk-[A-Za-z0-9_-]{16,}",
        r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,}",
        r"wh(?:sec|sk)_[A-Za-z0-9+/=_-]{10,}",
        // Slack.
        r"xox[a-z]-[A-Za-z0-9-]{10,}",
        r"xapp-[A-Za-z0-9-]{10,}",
        r"hooks\.slack\.com/(?:services|workflows|commands)/[A-Za-z0-9/_-]{10,}",
        // GitHub, GitLab, npm, PyPI.
        r"gh[pousr]_[A-Za-z0-9]{20,}",
        r"github_pat_[A-Za-z0-9_]{20,}",
        r"glpat-[A-Za-z0-9_-]{16,}",
        r"npm_[A-Za-z0-9]{30,}",
        r"pypi-[A-Za-z0-9_-]{30,}",
        // AWS access key ids, Google API keys and OAuth tokens.
        r"(?:AKIA|ASIA)[A-Z0-9]{16}",
        r"AIza[A-Za-z0-9_-]{30,}",
        r"ya29\.[A-Za-z0-9_-]{20,}",
        // Shopify, SendGrid, Notion, Linear, Hugging Face, DigitalOcean, HubSpot.
        r"shp(?:at|ca|pa|ss)_[A-Za-z0-9]{16,}",
        r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
        r"(?:secret|ntn)_[A-Za-z0-9]{30,}",
        r"lin_(?:api|wh|oauth)_[A-Za-z0-9]{16,}",
        r"hf_[A-Za-z0-9]{20,}",
        r"dop_v1_[a-f0-9]{32,}",
        r"pat-(?:na|eu)[0-9]-[a-f0-9-]{30,}",
        // JSON Web Tokens (the header begins with `{"`).
        r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*",
    ];
    let pattern = format!(r"(?-u:\b)(?:{})", forms.join("|"));
    Regex::new(&pattern).expect("a constant pattern")
});

/// What follows a telling word, a scheme of `Authorization`, or stands as the password of a URL.
static TOLD: LazyLock<Regex> = LazyLock::new(|| {
    let words = "password|passwd|passphrase|pwd|secret|token|authorization|api[_ -]?key|access[_ -]?key|\
                 private[_ -]?key|signing[_ -]?key|credentials?|cookie|jwt|signature|(?-u:\\b)sig";
    let pattern = format!(
        r#"(?i)(?:(?:{words})["'\\]{{0,4}}\s{{0,4}}[:=]\s{{0,4}}["'\\]{{0,4}}(?:(?:bearer|basic|token)\s{{1,4}})?|(?-u:\b)(?:bearer|basic)\s{{1,4}}|://[^\s/:@"'<>]{{0,64}}:)([^\s"'\\&,;<>]{{1,4096}})"#
    );
    Regex::new(&pattern).expect("a constant pattern")
});

/// The places of tokens in well-known forms.
pub(super) fn find_tokens(text: &str) -> Vec<(usize, usize)> {
    TOKENS.find_iter(text).map(|found| (found.start(), found.end())).collect()
}

/// The places of all secrets: keys in PEM, tokens, told values. Sorted, apart from each other.
pub(super) fn find(text: &str) -> Vec<(usize, usize)> {
    let mut found = private_keys(text);
    found.extend(find_tokens(text));
    if text.contains([':', '=']) || text.contains("earer ") || text.contains("asic ") {
        found.extend(TOLD.captures_iter(text).filter_map(|captures| told(text, &captures)));
    }
    found.sort_unstable();
    let mut apart: Vec<(usize, usize)> = Vec::with_capacity(found.len());
    for (start, end) in found {
        match apart.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => apart.push((start, end)),
        }
    }
    apart
}

/// PEM blocks of private keys, with or without their end. By hand: with a pattern, a text of many
/// beginnings without an end would be read again for each.
fn private_keys(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(begin) = text[at..].find(PEM_BEGIN).map(|offset| at + offset) {
        let label = begin + PEM_BEGIN.len();
        // `RSA PRIVATE KEY`, `ENCRYPTED PRIVATE KEY`, `PGP PRIVATE KEY BLOCK`.
        let private = text.as_bytes()[label..].iter().take(40).position(|byte| *byte == b'-');
        at = label;
        if private.is_some_and(|length| text[label..label + length].contains("PRIVATE KEY")) {
            let end = text[label..].find(PEM_END).map_or(text.len(), |offset| label + offset + PEM_END.len());
            let end = text[end..].find("-----").map_or(text.len(), |offset| end + offset + 5);
            found.push((begin, end));
            at = end;
        }
    }
    found
}

fn told(text: &str, captures: &regex::Captures<'_>) -> Option<(usize, usize)> {
    let (whole, value) = (captures.get(0)?, captures.get(1)?);
    let introduced = &text[whole.start()..value.start()];
    if introduced.starts_with("://") {
        // `user:password@host`; without an `@` it was `host:port`.
        let authority = value.as_str().split('/').next().unwrap_or_default();
        let password = authority.rfind('@').filter(|length| *length > 0)?;
        return (&authority[..password] != MASK).then_some((value.start(), value.start() + password));
    }
    let value_text = value.as_str();
    if value_text == MASK || is_digest(value_text) {
        return None;
    }
    // "basic authentication" is prose, `Basic dXNlcjpwYXNz` is not.
    let scheme_only = !introduced.contains([':', '=']);
    let token = value_text.len() >= 20
        || (value_text.len() >= 8 && value_text.bytes().any(|b| b.is_ascii_digit() || b == b'='));
    (!scheme_only || token).then_some((value.start(), value.end()))
}

#[cfg(test)]
mod tests {
    fn masked(text: &str) -> String {
        super::super::text(text).into_owned()
    }

    #[test]
    fn well_known_tokens_are_masked_wherever_they_stand() {
        let long = "a1B2".repeat(12);
        for token in [
            format!("sk-{long}"),
            format!("sk_live_{long}"),
            format!("whsec_{long}"),
            format!("xoxb-{long}"),
            format!("ghp_{long}"),
            format!("github_pat_{long}"),
            "AKIAIOSFODNN7EXAMPLE".to_owned(),
            format!("AIza{long}"),
            format!("shpat_{long}"),
            format!("SG.{long}.{long}"),
            format!("secret_{long}"),
            format!("eyJhbGciOiJIUzI1NiJ9.{long}.{long}"),
        ] {
            assert_eq!(masked(&format!("it is ({token}), keep it")), "it is ([redacted]), keep it");
        }
    }

    #[test]
    fn what_a_telling_word_introduces_is_masked() {
        for (text, expected) in [
            ("password=hunter2&x=1", "password=[redacted]&x=1"),
            ("api_key: abc", "api_key: [redacted]"),
            (r#"{"token":"abc"}"#, r#"{"token":"[redacted]"}"#),
            (r#"{\"client_secret\": \"abc\"}"#, r#"{\"client_secret\": \"[redacted]\"}"#),
            ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
            ("sent Bearer abcdefgh1234", "sent Bearer [redacted]"),
            (
                "https://x.example/?X-Amz-Signature=0a1b&sig=c2d&design=3",
                "https://x.example/?X-Amz-Signature=[redacted]&sig=[redacted]&design=3",
            ),
            ("postgres://app:s3cret@db:5432/x", "postgres://app:[redacted]@db:5432/x"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }

    #[test]
    fn prose_and_addresses_are_left_alone() {
        for text in [
            "basic authentication is off",
            "https://example.com:8443/path",
            "the token expired",
            "risk-of-losing-everything",
            "evt_1NG8Du2eZvKYlo2CUI79vXWy",
        ] {
            assert_eq!(masked(text), text);
        }
    }

    #[test]
    fn a_private_key_is_masked_even_without_its_end() {
        let whole = "a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- b";
        assert_eq!(masked(whole), "a [redacted] b");
        assert_eq!(masked("a -----BEGIN PRIVATE KEY-----\nMIIE"), "a [redacted]");
        let public = "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----";
        assert_eq!(masked(public), public);
    }
}
