//! Logs: one flat JSON object a line (`timestamp, level, message, target`, then the event's fields
//! and those of its spans on the top level), or human lines on a terminal.
//!
//! What a sender wrote can reach a field (an event type, an external id), so every value is escaped
//! and cut to [`MAX_VALUE`] bytes: a line stays one line, and short.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io::{IsTerminal, Write},
    panic::PanicHookInfo,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use sluice_actors::{domain::Timestamp, ports::Clock};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    EnvFilter, Registry,
    layer::{Context, Layer, SubscriberExt},
    registry::LookupSpan,
    reload,
};

use super::sentry::{PANICKED, Reports};
use crate::config::LogFormat;

/// Bytes of one field's value; longer ones are cut and end in `…`.
pub const MAX_VALUE: usize = 2048;

/// Where lines go: standard output, or a buffer of a test.
pub type Sink = Arc<Mutex<dyn Write + Send>>;

/// How and where to log.
pub struct Options {
    /// The form of a line.
    pub format: LogFormat,
    /// What is logged, in the form of `RUST_LOG` (`info,sluice=debug`).
    pub filter: String,
    /// Where lines go; `None` is standard output.
    pub sink: Option<Sink>,
    /// Where lines that are errors are reported besides.
    pub reports: Reports,
}

/// The filter is not in the form of `RUST_LOG`.
#[derive(Debug, thiserror::Error)]
#[error("not a log filter (such as `info` or `warn,sluice=debug`): {0}")]
pub struct InvalidFilter(#[from] tracing_subscriber::filter::ParseError);

/// Crates whose lines may hold what an event chose (a routing key, a subject in a broker's error), a credential, or
/// what somebody took for a path (`warp`): nobody sees them, whatever the filter says. What of it matters is in the
/// outcome of an attempt, or in our own lines.
const SILENT: [&str; 6] = ["lapin", "amq_protocol", "async_rs", "async_nats", "redis", "warp"];

fn is_silent(target: &str) -> bool {
    SILENT.contains(&target.split("::").next().unwrap_or_default())
}

/// A handle on the running log: changes its filter.
#[derive(Clone)]
pub struct Logs {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Logs {
    /// Replaces the filter; a bad one leaves the old in force.
    pub fn set_filter(&self, filter: &str) -> Result<(), InvalidFilter> {
        let filter = EnvFilter::try_new(filter)?;
        // The subscriber is gone only while the process ends; then there is nothing to filter.
        let _ = self.filter.reload(filter);
        Ok(())
    }
}

/// The subscriber of these options and the handle on its filter.
pub fn subscriber(
    options: Options,
    clock: Arc<dyn Clock>,
) -> Result<(impl Subscriber + Send + Sync + 'static, Logs), InvalidFilter> {
    let stdout = std::io::stdout();
    let terminal = options.sink.is_none() && stdout.is_terminal();
    let form = match options.format {
        LogFormat::Human => Form::Human { colour: terminal && std::env::var_os("NO_COLOR").is_none() },
        LogFormat::Auto if terminal => Form::Human { colour: std::env::var_os("NO_COLOR").is_none() },
        LogFormat::Auto | LogFormat::Json => Form::Json,
    };
    let sink = options.sink.unwrap_or_else(|| Arc::new(Mutex::new(stdout)));
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&options.filter)?);
    let subscriber = Registry::default().with(filter).with(Lines { form, sink, clock, reports: options.reports });
    Ok((subscriber, Logs { filter: handle }))
}

/// Replaces the default panic message, which could show a payload, by a log line that tells only
/// where it happened.
pub fn log_panics_by_place() {
    std::panic::set_hook(Box::new(log_panic));
}

/// Logs where a panic happened, with the names of whose work it was; not what it says.
pub fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(place, thread = thread.name().unwrap_or("unnamed"), "{PANICKED}");
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Human { colour: bool },
}

/// The layer that writes lines.
struct Lines {
    form: Form,
    sink: Sink,
    clock: Arc<dyn Clock>,
    reports: Reports,
}

/// The fields of a span or an event, in the order they were given; a later one replaces.
#[derive(Default)]
struct Fields(Vec<(Cow<'static, str>, Value)>);

impl Fields {
    fn insert(&mut self, name: Cow<'static, str>, value: Value) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value));
    }

    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        // The names of the line itself stay its own.
        let name = match name {
            "timestamp" | "level" | "target" => format!("field.{name}").into(),
            _ => name.into(),
        };
        self.insert(name, value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::String(cut(format!("{value:?}"))));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::String(cut(value.to_owned())));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.put(field, Value::String(cut(text)));
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_VALUE {
        text.truncate(text.floor_char_boundary(MAX_VALUE));
        text.push('…');
    }
    text
}

impl<S> Layer<S> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if is_silent(event.metadata().target()) {
            return;
        }
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                of_span.0.iter().for_each(|(name, value)| fields.insert(name.clone(), value.clone()));
            }
        }
        event.record(&mut fields);
        let at = fields.0.iter().position(|(name, _)| name == "message");
        let message = match at.map(|at| fields.0.remove(at).1) {
            Some(Value::String(message)) => message,
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let meta = event.metadata();
        if *meta.level() == Level::ERROR {
            self.reports.error(&message, meta.target(), &fields.0);
        }
        let line = match self.form {
            Form::Json => json_line(self.clock.now(), *meta.level(), &message, meta.target(), &fields.0),
            Form::Human { colour } => human_line(self.clock.now(), *meta.level(), &message, &fields.0, colour),
        };
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        // A closed standard output must not end the gateway.
        let _ = sink.write_all(line.as_bytes()).and_then(|()| sink.flush());
    }
}

fn json_line(
    at: Timestamp,
    level: Level,
    message: &str,
    target: &str,
    fields: &[(Cow<'static, str>, Value)],
) -> String {
    let level = match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    // Most lines are of one event with a dozen fields.
    let mut line = String::with_capacity(512);
    let own = [("timestamp", &*at.to_string()), ("level", level), ("message", message), ("target", target)];
    for (name, value) in own {
        line.push(if line.is_empty() { '{' } else { ',' });
        push_text(&mut line, name);
        line.push(':');
        push_text(&mut line, value);
    }
    for (name, value) in fields {
        line.push(',');
        push_text(&mut line, name);
        line.push(':');
        match value {
            Value::String(text) => push_text(&mut line, text),
            other => line.push_str(&escape_controls(&other.to_string())),
        }
    }
    line.push_str("}\n");
    line
}

/// Appends a text as JSON.
fn push_text(line: &mut String, text: &str) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        line.push('"');
        line.push_str(text);
        line.push('"');
    } else {
        // `serde_json` escapes C0 controls; other characters can steer a terminal too.
        line.push_str(&escape_controls(&Value::from(text).to_string()));
    }
}

/// Control characters beyond ASCII (and DEL), written as JSON escapes.
fn escape_controls(json: &str) -> String {
    if !json.contains(is_steering) {
        return json.to_owned();
    }
    let mut text = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_steering(c) {
            // `unwrap_or(())`: writing to a `String` cannot fail.
            write!(text, "\\u{:04x}", u32::from(c)).unwrap_or(());
        } else {
            text.push(c);
        }
    }
    text
}

/// Characters that end a line or change how text is shown: C0, C1, DEL, line and paragraph
/// separators, and the marks that turn the direction of writing (CVE-2021-42574).
fn is_steering(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn human_line(
    at: Timestamp,
    level: Level,
    message: &str,
    fields: &[(Cow<'static, str>, Value)],
    colour: bool,
) -> String {
    let paint = |code: &str, text: &str| {
        if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    };
    let level = match level {
        Level::ERROR => paint("31;1", "error"),
        Level::WARN => paint("33;1", " warn"),
        Level::INFO => paint("32", " info"),
        Level::DEBUG => paint("34", "debug"),
        Level::TRACE => paint("35", "trace"),
    };
    let time = at.to_string();
    let time = time.split_once('T').map_or(time.as_str(), |(_, time)| time);
    let mut line = format!("{} {level} {}", paint("2", time), visible(message));
    for (name, value) in fields {
        let value = match value {
            Value::String(text) if text.is_empty() || text.contains([' ', '"', '=']) => visible(&format!("{text:?}")),
            Value::String(text) => visible(text),
            other => other.to_string(),
        };
        line.push(' ');
        line.push_str(&paint("2", &format!("{name}=")));
        line.push_str(&value);
    }
    line.push('\n');
    line
}

/// The text with control characters shown, not obeyed.
fn visible(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if is_steering(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct At(&'static str);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::parse_rfc3339(self.0).unwrap()
        }
    }

    /// The lines that `act` logs.
    fn logged(format: LogFormat, filter: &str, act: impl FnOnce(&Logs)) -> String {
        let buffer = Arc::new(Mutex::new(Vec::new()));
        let sink: Sink = buffer.clone();
        let options = Options { format, filter: filter.to_owned(), sink: Some(sink), reports: Reports::default() };
        let (subscriber, logs) = subscriber(options, Arc::new(At("2026-11-24T08:00:00.123Z"))).unwrap();
        tracing::subscriber::with_default(subscriber, || act(&logs));
        let bytes = buffer.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_one_flat_json_object() {
        let text = logged(LogFormat::Json, "info", |_| {
            tracing::info!(event_id = "evt_1", duration_ms = 12_u64, ratio = 0.5, ok = true, "delivery answered");
        });
        let line: Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(
            line,
            serde_json::json!({
                "timestamp": "2026-11-24T08:00:00.123Z", "level": "info", "message": "delivery answered",
                "target": "sluice::telemetry::logs::tests", "event_id": "evt_1", "duration_ms": 12, "ratio": 0.5,
                "ok": true,
            })
        );
    }

    #[test]
    fn fields_of_spans_stand_on_the_top_level_and_the_events_own_win() {
        let text = logged(LogFormat::Json, "info", |_| {
            let outer =
                tracing::info_span!("attempt", job_id = "job_1", state = "running", late = tracing::field::Empty);
            let _entered = outer.enter();
            outer.record("late", "now");
            tracing::info!(state = "succeeded", "attempt ended");
        });
        let line: Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(
            (&line["job_id"], &line["state"], &line["late"]),
            (&"job_1".into(), &"succeeded".into(), &"now".into())
        );
    }

    #[test]
    fn foreign_text_cannot_break_out_of_its_line() {
        let hostile = "a\r\n{\"level\":\"error\"}\u{1b}[31m\u{9b}\u{2028}\u{202e}\u{7f}";
        for format in [LogFormat::Json, LogFormat::Human] {
            let text = logged(format, "info", |_| tracing::info!(event_type = hostile, "hostile {hostile}"));
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            assert!(!text.trim_end_matches('\n').contains(is_steering), "{text:?}");
        }
        let text = logged(LogFormat::Json, "info", |_| tracing::info!(event_type = hostile, "x"));
        let line: Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["event_type"], hostile);
    }

    #[test]
    fn a_long_value_is_cut() {
        let text = logged(LogFormat::Json, "info", |_| tracing::info!(error = "ä".repeat(MAX_VALUE), "x"));
        let line: Value = serde_json::from_str(text.trim_end()).unwrap();
        let error = line["error"].as_str().unwrap();
        assert!(error.len() <= MAX_VALUE + '…'.len_utf8() && error.ends_with('…'), "{}", error.len());
    }

    #[test]
    fn fields_cannot_replace_the_names_of_the_line() {
        let text = logged(LogFormat::Json, "info", |_| tracing::info!(level = "error", timestamp = 0_u64, "x"));
        let line: Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!((&line["level"], &line["field.level"]), (&"info".into(), &"error".into()));
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open the store")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("disk is gone"));
        let text = logged(LogFormat::Json, "info", |_| {
            tracing::warn!(error = &error as &dyn std::error::Error, "x");
        });
        assert!(text.contains("cannot open the store: disk is gone"), "{text}");
    }

    #[test]
    fn crates_that_may_log_what_an_event_chose_are_silent_whatever_the_filter_says() {
        let text = logged(LogFormat::Json, "trace,lapin=trace", |logs| {
            tracing::error!(target: "lapin::io_loop", "PLANTED");
            logs.set_filter("lapin=trace,async_nats::connector=trace,sluice=info").unwrap();
            tracing::error!(target: "lapin", "PLANTED");
            tracing::error!(target: "async_nats::connector", "PLANTED");
            tracing::info!(target: "sluice", "ours");
        });
        assert!(text.contains("ours") && !text.contains("PLANTED"), "{text}");
    }

    #[test]
    fn the_filter_can_change_while_the_process_runs() {
        let text = logged(LogFormat::Json, "warn", |logs| {
            tracing::info!("before");
            logs.set_filter("info").unwrap();
            tracing::info!("after");
            assert!(logs.set_filter("=,=").is_err());
            tracing::info!("still");
        });
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("after") && text.contains("still"));
    }

    #[test]
    fn a_human_line_is_short_and_without_colour_off_a_terminal() {
        let text = logged(LogFormat::Human, "info", |_| tracing::warn!(lane = "acme/pay", error = "no route", "held"));
        assert_eq!(text, "08:00:00.123Z  warn held lane=acme/pay error=\"no route\"\n");
    }
}
