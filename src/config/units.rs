//! Sizes, durations, addresses and other values as they are written, parsed once.

use std::{net::SocketAddr, time::Duration};

use http::HeaderName;
use ipnet::{IpNet, Ipv4Net};
use sluice_actors::domain::Timestamp;
use url::Url;

use super::{
    finding::{Problem, suggest},
    tree::{Item, Value},
};

/// A value that one key holds.
pub(super) trait FromItem: Sized {
    fn from_item(item: &Item) -> Result<Self, Problem>;
}

fn wanted<T>(item: &Item, what: &str) -> Result<T, Problem> {
    Err(Problem::new(format!("is {}", item.value.kind()), format!("write {what}")))
}

/// Parses a text by `parse`; says what is wanted where it is not that.
fn text<T>(item: &Item, what: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Problem> {
    match &item.value {
        Value::Text(text) | Value::Raw(text) => {
            parse(text).ok_or_else(|| Problem::new(format!("`{text}` does not fit"), format!("write {what}")))
        }
        _ => wanted(item, what),
    }
}

/// One of a few words.
pub(super) fn word<T: Clone>(item: &Item, words: &[(&str, T)]) -> Result<T, Problem> {
    match &item.value {
        Value::Text(text) | Value::Raw(text) => {
            words.iter().find(|(word, _)| word == text).map(|(_, value)| value.clone()).ok_or_else(|| {
                Problem::new(format!("`{text}` is not known here"), suggest(text, words.iter().map(|(word, _)| *word)))
            })
        }
        _ => wanted(item, "a word in quotes"),
    }
}

impl FromItem for String {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        text(item, "a text in quotes", |text| Some(text.to_owned()))
    }
}

impl FromItem for bool {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        match &item.value {
            Value::Bool(flag) => Ok(*flag),
            Value::Raw(_) => text(item, "true or false", |text| text.parse().ok()),
            _ => wanted(item, "true or false, without quotes"),
        }
    }
}

impl FromItem for i64 {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        match &item.value {
            Value::Integer(number) => Ok(*number),
            Value::Raw(_) => text(item, "a whole number", |text| text.parse().ok()),
            _ => wanted(item, "a whole number, without quotes"),
        }
    }
}

impl FromItem for f64 {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        match &item.value {
            Value::Integer(number) => Ok(*number as Self),
            Value::Float(number) if number.is_finite() => Ok(*number),
            Value::Raw(_) => {
                text(item, "a number", |text| text.parse().ok().filter(|number: &Self| number.is_finite()))
            }
            _ => wanted(item, "a number, without quotes"),
        }
    }
}

/// A number of bytes: `512KiB`, `64MiB`, `1000` (bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ByteSize(pub(super) usize);

const UNITS: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl ByteSize {
    fn parse(text: &str) -> Option<Self> {
        let (digits, factor) = UNITS
            .iter()
            .find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits, *factor)))
            .unwrap_or((text, 1));
        digits.trim_end().parse::<usize>().ok()?.checked_mul(factor).map(Self)
    }
}

impl std::fmt::Display for ByteSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (unit, factor) =
            UNITS.into_iter().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor)).unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl FromItem for ByteSize {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        match &item.value {
            Value::Integer(number) if *number >= 0 => Ok(Self(usize::try_from(*number).unwrap_or(usize::MAX))),
            _ => text(item, "a size such as \"512KiB\" (units: B, KiB, MiB, GiB)", Self::parse),
        }
    }
}

/// Parses a duration: `500ms`, `15s`, `5m`, `24h`, `30d`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let (digits, factor) =
        UNITS.iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits, *factor)))?;
    digits.trim_end().parse::<u64>().ok()?.checked_mul(factor).map(Duration::from_millis)
}

/// A duration as [`parse_duration`] reads it.
pub(super) fn show_duration(duration: Duration) -> String {
    const UNITS: [(&str, u128); 4] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let millis = duration.as_millis();
    let (unit, factor) =
        UNITS.into_iter().find(|(_, factor)| millis > 0 && millis.is_multiple_of(*factor)).unwrap_or(("ms", 1));
    format!("{}{unit}", millis / factor)
}

impl FromItem for Duration {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        text(item, "a duration such as \"15s\" (units: ms, s, m, h, d)", parse_duration)
    }
}

impl FromItem for Timestamp {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        let what = "a time with its offset such as \"2026-12-01T00:00:00Z\"";
        match &item.value {
            Value::Time(time) => Self::parse_rfc3339(time)
                .map_err(|_| Problem::new(format!("`{time}` does not fit"), format!("write {what}"))),
            _ => text(item, what, |text| Self::parse_rfc3339(text).ok()),
        }
    }
}

impl FromItem for SocketAddr {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        text(item, "an address and a port such as \"127.0.0.1:8080\"", |text| text.parse().ok())
    }
}

impl FromItem for IpNet {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        text(item, "a network such as \"10.0.0.0/8\" or a single address", |text| {
            let net = text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))?;
            Some(canonical(net))
        })
    }
}

/// A network of IPv4-mapped addresses is one of IPv4: addresses are compared in that form.
fn canonical(net: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    let IpNet::V6(v6) = net else { return net };
    let v4 = v6.addr().to_ipv4_mapped().filter(|_| v6.prefix_len() >= MAPPED);
    v4.and_then(|v4| Ipv4Net::new(v4, v6.prefix_len() - MAPPED).ok()).map_or(net, IpNet::V4)
}

impl FromItem for HeaderName {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        text(item, "the name of a header", |text| text.parse().ok())
    }
}

impl FromItem for Url {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        // The text is not repeated: a URL may carry a credential.
        match &item.value {
            Value::Text(text) | Value::Raw(text) => base_url(text),
            _ => wanted(item, "a URL such as \"https://example.com\""),
        }
    }
}

/// A URL of http or https without credentials, query or fragment; a trailing slash is dropped.
pub(super) fn base_url(text: &str) -> Result<Url, Problem> {
    let url = parse_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Problem::new("has a query or a fragment", "write the URL without what follows `?` or `#`"));
    }
    Ok(url)
}

/// A URL of http or https without credentials in it.
pub(super) fn parse_url(text: &str) -> Result<Url, Problem> {
    let url: Url = text.trim_end_matches('/').parse().map_err(|error| {
        Problem::new(format!("is not a URL ({error})"), "write one such as \"https://example.com\"")
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Problem::new("is not a URL of http or https", "write one such as \"https://example.com\""));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Problem::new(
            "has a credential in the URL",
            "take it out and refer to it with `env:NAME` or `file:PATH` under the key that is made for it",
        ));
    }
    Ok(url)
}

/// Whether the host of `url` is this machine by its name or address.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_binary_units_and_nothing_else() {
        for (text, bytes) in [("512KiB", 524_288), ("64MiB", 67_108_864), ("1 GiB", 1 << 30), ("10B", 10), ("7", 7)] {
            assert_eq!(ByteSize::parse(text), Some(ByteSize(bytes)), "{text}");
        }
        for text in ["", "KiB", "512K", "512kb", "-1", "1.5MiB", "99999999999999999999"] {
            assert_eq!(ByteSize::parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, millis) in [("500ms", 500), ("15s", 15_000), ("5m", 300_000), ("24h", 86_400_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "15", "s", "1h30m", "-1s", "1.5s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_shown_duration_or_size_is_read_back_as_itself() {
        for millis in [1, 500, 1000, 15_000, 90_000, 300_000, 3_600_000, 86_400_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }
        for bytes in [1, 1023, 1024, 524_288, 67_108_864] {
            assert_eq!(ByteSize::parse(&ByteSize(bytes).to_string()), Some(ByteSize(bytes)));
        }
    }

    #[test]
    fn a_url_with_a_credential_is_refused_without_repeating_it() {
        let problem = parse_url("https://user:hunter2@example.com").unwrap_err();
        assert!(!format!("{problem:?}").contains("hunter2"));
    }
}
