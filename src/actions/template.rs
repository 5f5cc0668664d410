//! Templates over the normalised event (minijinja). The event is foreign: what it puts into a URL is
//! percent-encoded, into JSON is JSON, into a header has no line breaks; it cannot choose the host,
//! climb the path or loop for ever. An undefined value is an error, not an empty text.

use std::{fmt::Write as _, io, sync::LazyLock};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, escape_formatter,
    value::{Value as Operand, ValueKind},
};
use serde_json::{Value, json};
use sluice_actors::domain::{EventEnvelope, Job};
use url::Url;

use crate::http_client::is_loopback_url;

/// Instructions one rendering may take.
const FUEL: u64 = 100_000;
/// Bytes of one rendered text.
const MAX_RENDERED: usize = 256 * 1024;

/// Where a rendered text goes, and so how values are written into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A URL: values are percent-encoded, `/` included.
    Url,
    /// A form body: as in a URL.
    Form,
    /// A JSON body: `{{ value }}` is the value's JSON, quotes included.
    Json,
    /// A header's value or a body of another type.
    Text,
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Form => "form",
            Self::Json => "json body",
            Self::Text => "text",
        }
    }
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(64);
    environment.set_auto_escape_callback(|name| match name {
        "url" | "form" => AutoEscape::Custom("percent"),
        "json body" => AutoEscape::Json,
        _ => AutoEscape::None,
    });
    environment.set_formatter(format);
    environment.add_filter("urlencode", |text: &str| Operand::from_safe_string(percent_encode(text)));
    environment
});

fn format(out: &mut Output<'_>, state: &State<'_, '_>, value: &Operand) -> Result<(), Error> {
    match state.auto_escape() {
        AutoEscape::Custom(_) if value.is_safe() => write!(out, "{value}").map_err(Error::from),
        AutoEscape::Custom(_) => out.write_str(&percent_encode(&scalar(value)?)).map_err(Error::from),
        AutoEscape::None => out.write_str(&scalar(value)?).map_err(Error::from),
        _ => escape_formatter(out, state, value),
    }
}

/// A text, number or boolean as text. Null and structures are refused: `None` in a URL is a bug.
fn scalar(value: &Operand) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String | ValueKind::Number | ValueKind::Bool => Ok(value.to_string()),
        _ => Err(Error::new(ErrorKind::InvalidOperation, "not a text, number or boolean")),
    }
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// What a template sees.
pub(crate) fn context(event: &EventEnvelope, job: &Job, fetched: Option<&Value>) -> Value {
    let mut context = event_json(event);
    context["job_id"] = json!(job.id);
    context["route"] = json!(job.route);
    if let Some(fetched) = fetched {
        context["fetched"] = fetched.clone();
    }
    context
}

/// The normalised event as JSON: the body of a call without a template.
pub(crate) fn event_json(event: &EventEnvelope) -> Value {
    json!({
        "event_id": event.id,
        "tenant": event.lane.tenant,
        "source": event.lane.source,
        "vendor": event.vendor,
        "external_id": event.external_id,
        "event_type": event.event_type,
        "subject_id": event.subject_id,
        "occurred_at": event.occurred_at,
        "received_at": event.received_at,
        "schema_version": event.schema_version,
        "api_version": event.api_version,
        "data": event.data,
        "trace_id": event.trace_id,
    })
}

/// Renders `template`. The error names the kind and the line, never a value.
pub(crate) fn render(target: Target, template: &str, context: &Value) -> Result<String, String> {
    let template = ENVIRONMENT.template_from_named_str(target.name(), template).map_err(|e| words(&e))?;
    let mut rendered = Capped { text: Vec::new(), full: false };
    let done = template.render_captured_to(Operand::from_serialize(context), &mut rendered);
    if rendered.full {
        return Err(format!("the rendered text is larger than {} KiB", MAX_RENDERED / 1024));
    }
    done.map_err(|e| words(&e))?;
    String::from_utf8(rendered.text).map_err(|_| "the rendered text is not UTF-8".to_owned())
}

/// Ends a rendering at its cap: an event that repeats a large field would else take all memory.
struct Capped {
    text: Vec<u8>,
    full: bool,
}

impl io::Write for Capped {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.text.len() + piece.len() > MAX_RENDERED {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether `template` is one: syntax only.
pub(crate) fn check(target: Target, template: &str) -> Result<(), String> {
    ENVIRONMENT.template_from_named_str(target.name(), template).map(|_| ()).map_err(|e| words(&e))
}

fn words(error: &Error) -> String {
    match error.line() {
        Some(line) => format!("{} in line {line} of the template", error.kind()),
        None => error.kind().to_string(),
    }
}

/// The literal origin of a URL template: scheme, host and port must stand there as they are, so that
/// no event can choose who is called.
pub(crate) fn literal_origin(template: &str) -> Result<Url, &'static str> {
    const RULE: &str = "the URL must begin with a literal scheme and host, such as `https://api.example.com/…`";
    let (scheme, rest) = template.split_once("://").ok_or(RULE)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    if authority.is_empty() || authority.contains(['{', '}', '\\', '@', '%']) {
        return Err(RULE);
    }
    let origin: Url = format!("{scheme}://{authority}/").parse().map_err(|_| RULE)?;
    match origin.scheme() {
        "https" => Ok(origin),
        "http" if is_loopback_url(&origin) => Ok(origin),
        _ => Err("the URL must begin with https:// (http:// only on loopback)"),
    }
}

/// Renders a URL template; the host stays the literal one and no value climbs out of its segment.
pub(crate) fn render_url(template: &str, context: &Value) -> Result<Url, String> {
    let origin = literal_origin(template)?;
    let rendered = render(Target::Url, template, context)?;
    let path = rendered.split(['?', '#']).next().unwrap_or_default();
    let dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if path.split(['/', '\\']).any(dots) {
        return Err("a value makes a dot segment in the URL's path".to_owned());
    }
    let url: Url = rendered.parse().map_err(|_| "the rendered URL is not one".to_owned())?;
    if url.origin() != origin.origin() {
        return Err("the rendered URL has another host than its template".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{event, job},
        *,
    };

    fn with(data: Value) -> Value {
        let mut event = event();
        event.data = data;
        context(&event, &job(), None)
    }

    #[test]
    fn a_value_stays_inside_its_place_in_a_url() {
        let cases = [
            ("Ada Lovelace", Ok("https://crm.example/c/Ada%20Lovelace?x=1")),
            ("a/b?c#d&e", Ok("https://crm.example/c/a%2Fb%3Fc%23d%26e?x=1")),
            ("@evil.example", Ok("https://crm.example/c/%40evil.example?x=1")),
            ("é", Ok("https://crm.example/c/%C3%A9?x=1")),
            ("..", Err(())),
            (".", Err(())),
            ("%2e%2e", Ok("https://crm.example/c/%252e%252e?x=1")),
            ("a\r\nHost: evil", Ok("https://crm.example/c/a%0D%0AHost%3A%20evil?x=1")),
        ];
        for (value, expected) in cases {
            let url = render_url("https://crm.example/c/{{ data.id }}?x=1", &with(json!({ "id": value })));
            match expected {
                Ok(expected) => assert_eq!(url.unwrap().as_str(), expected, "{value}"),
                Err(()) => assert!(url.is_err(), "{value}"),
            }
        }
    }

    #[test]
    fn the_host_must_be_literal() {
        for good in [
            "https://crm.example/{{ data.id }}",
            "https://crm.example:8443",
            "https://crm.example?x={{ data.id }}",
            "http://127.0.0.1:9/x",
        ] {
            assert!(literal_origin(good).is_ok(), "{good}");
        }
        for bad in [
            "{{ data.url }}",
            "https://{{ data.host }}/x",
            "https://crm.example{{ data.x }}/",
            "{{ data.s }}://crm.example/",
            "https://crm.example\\{{ data.x }}",
            "https://{{ data.user }}@crm.example/",
            "https:///x",
            "http://crm.example/x",
            "ftp://crm.example/",
            "/relative",
            "https://crm.example:{{ data.port }}/",
        ] {
            assert!(literal_origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_values_are_json_whatever_they_contain() {
        let context = with(json!({ "name": "\"},\"admin\":true,{\"", "n": 7, "list": [1, { "a": null }] }));
        let body =
            render(Target::Json, r#"{"name": {{ data.name }}, "n": {{ data.n }}, "list": {{ data.list }}}"#, &context);
        let body: Value = serde_json::from_str(&body.unwrap()).unwrap();
        assert_eq!(body, json!({ "name": "\"},\"admin\":true,{\"", "n": 7, "list": [1, { "a": null }] }));
    }

    #[test]
    fn forms_are_encoded_and_the_filter_is_not_applied_twice() {
        let context = with(json!({ "q": "a b&c=d" }));
        assert_eq!(render(Target::Form, "q={{ data.q }}", &context).unwrap(), "q=a%20b%26c%3Dd");
        assert_eq!(render(Target::Form, "q={{ data.q|urlencode }}", &context).unwrap(), "q=a%20b%26c%3Dd");
        assert_eq!(render(Target::Text, "q={{ data.q|urlencode }}", &context).unwrap(), "q=a%20b%26c%3Dd");
    }

    #[test]
    fn what_is_undefined_null_or_a_structure_is_an_error_that_shows_no_value() {
        let context = with(json!({ "secret": { "token": "PLANTED" }, "none": null }));
        for (target, template) in [
            (Target::Url, "https://a.example/{{ data.absent }}"),
            (Target::Url, "https://a.example/{{ data.none }}"),
            (Target::Url, "https://a.example/{{ data.secret }}"),
            (Target::Text, "{{ data.secret }}"),
            (Target::Text, "{{ data.absent.deeper }}"),
            (Target::Json, "{{ data.absent }}"),
            (Target::Json, "{{ data.secret.token + 1 }}"),
        ] {
            let error = render(target, template, &context).unwrap_err();
            assert!(!error.contains("PLANTED"), "{error}");
        }
    }

    #[test]
    fn a_template_that_would_never_end_runs_out_of_fuel() {
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(render(Target::Text, endless, &with(json!({}))).is_err());
    }

    #[test]
    fn a_text_over_the_cap_is_refused_before_it_is_made() {
        let context = with(json!({ "large": "x".repeat(100_000), "many": vec![0; 20_000] }));
        for template in [
            "{{ data.large }}{{ data.large }}{{ data.large }}",
            "{% for one in data.many %}{{ data.large }}{% endfor %}",
        ] {
            let error = render(Target::Text, template, &context).unwrap_err();
            assert!(error.contains("larger than 256 KiB"), "{error}");
        }
        assert_eq!(render(Target::Text, "{{ data.large }}", &context).unwrap().len(), 100_000);
    }

    #[test]
    fn a_broken_template_is_refused_when_the_configuration_is_checked() {
        assert!(check(Target::Text, "{{ data.x }}").is_ok());
        for broken in ["{{ data.x", "{% if %}", "{{ data.x|nosuchfilter }}", "{% include 'x' %}"] {
            let checked = check(Target::Text, broken).is_err();
            let rendered = render(Target::Text, broken, &with(json!({ "x": 1 }))).is_err();
            assert!(checked || rendered, "{broken}");
        }
    }
}
