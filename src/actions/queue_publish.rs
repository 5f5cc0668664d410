//! `queue_publish`: the event as a message of the operator's own broker, once the broker confirmed it.
//!
//! Every attempt has the same id, the event's, by which consumers tell what they saw before: an attempt whose
//! confirmation was lost is made again ([ADR 0023](../../docs/adr/0023-brokers.md)).

use serde_json::Value;
use sluice_actors::domain::JobResult;

use super::{
    callees, fetch,
    run::{Run, Step, invalid},
    template::{self, Target},
};
use crate::{
    brokers::{Destination, Message},
    config::{QueueBody, QueuePublish},
};

/// Headers of every message; of Redis the fields, with the body.
const OURS: [&str; 11] = [
    "event_id",
    "job_id",
    "tenant",
    "source",
    "vendor",
    "type",
    "route",
    "occurred_at",
    "attempt",
    "traceparent",
    "body",
];

/// Whether `headers` may not name it: it is ours, or tells a NATS server what to do.
pub(crate) fn is_reserved(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    OURS.contains(&&*header) || header.starts_with("nats-")
}

/// Bytes of a stream's key, an exchange, a routing key, a subject (AMQP 0.9.1: shortstr).
const MAX_NAME: usize = 255;
/// Bytes of all headers together: AMQP sends them in one frame.
const MAX_HEADERS: usize = 16 * 1024;

pub(crate) async fn run(run: &Run<'_>, settings: &QueuePublish) -> Step<JobResult> {
    let mut progress = run.progress();
    fetch::ensure(run, &mut progress).await?;
    let context = template::context(run.event(), run.job(), progress.fetched.as_ref());
    let destination = destination(&settings.destination, &context).map_err(invalid)?;
    let mut headers = ours(run);
    headers.extend(theirs(&settings.headers, &context).map_err(invalid)?);
    let event = run.event();
    let message = Message {
        destination,
        event_id: event.id.to_string(),
        // Two routes of one event may write to one stream.
        dedupe: format!("{}/{}", event.id, run.job().route),
        event_type: plain(&event.event_type),
        occurred_at: event.occurred_at,
        headers,
        body: body(run, settings.body, progress.fetched).into(),
    };
    let template = settings.destination.texts().last().map_or("", |(_, text)| *text);
    let callee = callees::queue(&settings.endpoint);
    let said = run.publish(&callee, &settings.endpoint, message, template).await?;
    Ok(JobResult { reply: Some(run.redacted(said)), ..JobResult::default() })
}

fn body(run: &Run<'_>, body: QueueBody, fetched: Option<Value>) -> String {
    match body {
        QueueBody::Event => {
            let mut event = template::event_json(run.event());
            if let Some(fetched) = fetched {
                event["fetched"] = fetched;
            }
            event.to_string()
        }
        QueueBody::Data => run.event().data.to_string(),
    }
}

/// What every message carries beside its body, but for the trace, which is the call's.
fn ours(run: &Run<'_>) -> Vec<(String, String)> {
    let (event, job) = (run.event(), run.job());
    [
        ("event_id", event.id.to_string()),
        ("job_id", job.id.to_string()),
        ("tenant", event.lane.tenant.to_string()),
        ("source", event.lane.source.to_string()),
        ("vendor", event.vendor.to_string()),
        ("type", plain(&event.event_type)),
        ("route", job.route.to_string()),
        ("occurred_at", event.occurred_at.to_string()),
        ("attempt", run.attempt.number.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The operator's headers, rendered.
fn theirs(templates: &[(String, String)], context: &Value) -> Result<Vec<(String, String)>, String> {
    let mut headers = Vec::with_capacity(templates.len());
    let mut bytes = 0;
    for (name, text) in templates {
        let value = template::render(Target::Text, text, context).map_err(|e| format!("headers: {e}"))?;
        if value.contains(char::is_control) {
            return Err(format!("headers: the value of `{name}` has a control character"));
        }
        bytes += name.len() + value.len();
        headers.push((name.clone(), value));
    }
    if bytes > MAX_HEADERS {
        return Err(format!("headers: they are larger than {} KiB together", MAX_HEADERS / 1024));
    }
    Ok(headers)
}

/// Where to, rendered. What an event puts there cannot become a pattern, a subject of the server's own, or a
/// line of the protocol.
fn destination(templates: &Destination, context: &Value) -> Result<Destination, String> {
    let is_nats = matches!(templates, Destination::Nats { .. });
    templates.map(|key, text| {
        let rendered = template::render(Target::Text, text, context).map_err(|e| format!("{key}: {e}"))?;
        check_name(key, &rendered, is_nats)?;
        Ok(rendered)
    })
}

/// Whether a name can be one.
pub(crate) fn check_name(key: &str, name: &str, is_nats: bool) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{key}: {what}"));
    if name.len() > MAX_NAME {
        return wrong("it is longer than 255 bytes");
    }
    if name.contains(char::is_control) {
        return wrong("it has a control character");
    }
    // RabbitMQ's default exchange has no name, and its other exchanges need no routing key.
    if name.is_empty() && !matches!(key, "exchange" | "routing_key") {
        return wrong("it is empty");
    }
    if is_nats {
        let is_token =
            |token: &str| !token.is_empty() && !token.contains(|c: char| c.is_whitespace() || "*>".contains(c));
        if !name.split('.').all(is_token) || name.starts_with(['$', '_']) {
            return wrong(
                "it is not a subject to publish to: it has an empty token, a wildcard, a blank, or begins with `$` or `_`",
            );
        }
    }
    Ok(())
}

/// A vendor's word as a header: without control characters, not long.
fn plain(text: &str) -> String {
    let mut plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.truncate(plain.floor_char_boundary(MAX_NAME));
    plain
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::testing::{event, job},
        *,
    };

    fn with(data: Value) -> Value {
        let mut event = event();
        event.data = data;
        template::context(&event, &job(), None)
    }

    fn nats(value: &str) -> Result<Destination, String> {
        let templates = Destination::Nats { subject: "orders.{{ data.id }}".into() };
        destination(&templates, &with(json!({ "id": value })))
    }

    #[test]
    fn an_event_cannot_make_a_pattern_or_a_line_of_a_subject() {
        assert_eq!(nats("a.b"), Ok(Destination::Nats { subject: "orders.a.b".into() }));
        for hostile in ["*", "a.>", "", ".", "a..b", "a b", "a\r\nPUB x 0", "a\tb", &"x".repeat(250), "\u{0}"] {
            let error = nats(hostile).unwrap_err();
            assert!(error.starts_with("subject: ") && !error.contains("PUB"), "{hostile:?}: {error}");
        }
        let whole = Destination::Nats { subject: "{{ data.id }}".into() };
        for reserved in ["$JS.API.STREAM.DELETE.orders", "_INBOX.x"] {
            assert!(destination(&whole, &with(json!({ "id": reserved }))).is_err(), "{reserved}");
        }
    }

    #[test]
    fn names_of_exchanges_and_streams_are_bounded_and_only_those_of_rabbitmq_may_be_empty() {
        let rabbit = |exchange: &str, routing_key: &str| Destination::RabbitMq {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
        };
        let context = with(json!({ "long": "x".repeat(256), "line": "a\nb", "empty": "" }));
        assert_eq!(destination(&rabbit("", "{{ event_type }}"), &context), Ok(rabbit("", "invoice.paid")));
        assert_eq!(destination(&rabbit("e", ""), &context), Ok(rabbit("e", "")));
        assert!(destination(&rabbit("{{ data.long }}", ""), &context).unwrap_err().starts_with("exchange: "));
        assert!(destination(&rabbit("e", "{{ data.line }}"), &context).unwrap_err().starts_with("routing_key: "));
        let redis = |stream: &str| Destination::Redis { stream: stream.into(), max_len: Some(5) };
        assert_eq!(destination(&redis("s:{{ source }}"), &context), Ok(redis("s:payments")));
        assert!(destination(&redis("{{ data.empty }}"), &context).is_err());
        assert!(destination(&redis("{{ data.absent }}"), &context).is_err());
    }

    #[test]
    fn headers_have_no_control_characters_and_a_common_bound() {
        let context = with(json!({ "line": "a\r\nb: c", "large": "x".repeat(10_000), "name": "Ada Ł" }));
        let of = |templates: &[(&str, &str)]| {
            let templates: Vec<_> = templates.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
            theirs(&templates, &context)
        };
        assert_eq!(of(&[("x-name", "{{ data.name }}")]), Ok(vec![("x-name".to_owned(), "Ada Ł".to_owned())]));
        assert!(of(&[("x-line", "{{ data.line }}")]).is_err());
        assert!(of(&[("a", "{{ data.large }}")]).is_ok());
        assert!(of(&[("a", "{{ data.large }}"), ("b", "{{ data.large }}")]).unwrap_err().contains("16 KiB"));
    }

    #[test]
    fn a_vendors_word_fits_into_a_header() {
        assert_eq!(plain("a\r\nb"), "a  b");
        assert_eq!(plain(&"é".repeat(200)).len(), 254);
    }
}
