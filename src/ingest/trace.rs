//! The trace of a delivery (W3C Trace Context, version 00).

use http::HeaderMap;
use sluice_actors::domain::TraceId;

use crate::ids;

const TRACEPARENT: &str = "traceparent";

/// The delivery's trace, and the vendor's own to be linked. `continued`: the vendor's is ours.
pub(super) fn trace(headers: &HeaderMap, continued: bool) -> (TraceId, Option<String>) {
    let theirs = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(traceparent);
    match theirs {
        Some((id, text)) if continued => (id, Some(text.to_owned())),
        Some((_, text)) => (ids::trace_id(), Some(text.to_owned())),
        None => (ids::trace_id(), None),
    }
}

fn traceparent(text: &str) -> Option<(TraceId, &str)> {
    let lower_hex = |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && version == "00" && lower_hex(parent, 16) && lower_hex(flags, 2);
    let real = parent.bytes().any(|b| b != b'0');
    Some((trace.parse().ok()?, text)).filter(|_| whole && real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_traceparent_of_version_00_counts() {
        for (text, valid) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", false),
            ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033-01", false),
            ("", false),
        ] {
            assert_eq!(traceparent(text).is_some(), valid, "{text}");
        }
    }
}
