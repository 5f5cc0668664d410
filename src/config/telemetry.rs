//! `[telemetry]` of `sluice.toml`: logs, traces, Sentry.

use url::Url;

use super::{
    finding::Problem,
    section::Section,
    tree::Item,
    units::{self, FromItem},
};
use crate::secrets::Secret;

/// What is logged unless the operator says otherwise.
const DEFAULT_FILTER: &str = "info";
/// What Sentry calls an environment unless the operator says otherwise.
const DEFAULT_ENVIRONMENT: &str = "production";
/// The longest name of an environment that Sentry takes.
const MAX_ENVIRONMENT: usize = 64;

/// `[telemetry]`.
#[derive(Debug)]
pub struct Telemetry {
    /// How logs look.
    pub format: LogFormat,
    /// The filter, in the form of `RUST_LOG`.
    pub filter: String,
    /// Where spans go.
    pub traces: Traces,
    /// Where errors and panics go.
    pub sentry: Option<Sentry>,
}

impl Telemetry {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let telemetry = Self {
            format: section.get("format", LogFormat::Auto),
            filter: section.get("filter", DEFAULT_FILTER.to_owned()),
            traces: Traces::read(section.table_or_empty("traces")),
            sentry: section.table("sentry").and_then(Sentry::read),
        };
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&telemetry.filter) {
            section.error(
                "filter",
                format!("is not a filter ({error})"),
                "write one such as \"info\" or \"info,sluice=debug\"",
            );
        }
        section.finish();
        telemetry
    }
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Human lines on a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// Human lines.
    Human,
}

impl FromItem for LogFormat {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        units::word(item, &[("auto", Self::Auto), ("json", Self::Json), ("human", Self::Human)])
    }
}

/// `[telemetry.traces]`. What is not said here may be said by the variables of OpenTelemetry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traces {
    /// The collector, OTLP over HTTP, without `/v1/traces`.
    pub endpoint: Option<Url>,
    /// Which part of the traces that begin here is kept, 0 to 1.
    pub ratio: Option<f64>,
}

impl Traces {
    fn read(mut section: Section<'_>) -> Self {
        let traces = Self { endpoint: section.opt("endpoint"), ratio: section.opt("ratio") };
        if let Some(ratio) = traces.ratio
            && !(0.0..=1.0).contains(&ratio)
        {
            section.error("ratio", format!("{ratio} is no part of a whole"), "write a number from 0 to 1, such as 0.1");
        }
        if let Some(url) = &traces.endpoint
            && url.path().ends_with("/v1/traces")
        {
            section.error(
                "endpoint",
                "names the path of the spans, which is added to it",
                "leave `/v1/traces` away: write where the collector listens, such as \"http://127.0.0.1:4318\"",
            );
        }
        section.finish();
        traces
    }
}

/// `[telemetry.sentry]`.
#[derive(Debug, Clone)]
pub struct Sentry {
    /// Where to send: a URL that holds the project's key.
    pub dsn: Secret,
    /// What this installation is called there.
    pub environment: String,
}

impl Sentry {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let dsn = section.required_secret("dsn");
        let environment = section.get("environment", DEFAULT_ENVIRONMENT.to_owned());
        if let Some(dsn) = &dsn
            && let Err(reason) = check_dsn(dsn)
        {
            section.error("dsn", reason, "copy the DSN from the settings of the project: https://KEY@HOST/PROJECT");
        }
        let plain = environment.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if !plain || !(1..=MAX_ENVIRONMENT).contains(&environment.len()) {
            section.error(
                "environment",
                format!(
                    "is not the name of an environment: 1 to {MAX_ENVIRONMENT} characters without blanks and slashes"
                ),
                "write one such as \"production\"",
            );
        }
        section.finish();
        Some(Self { dsn: dsn?, environment })
    }
}

/// What is wrong with a DSN; does not repeat it.
fn check_dsn(dsn: &Secret) -> Result<(), &'static str> {
    let url = dsn.expose_str().and_then(|text| Url::parse(text).ok()).ok_or("is not a URL")?;
    let project = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("is not a URL of https");
    }
    if url.scheme() == "http" && !units::is_loopback(&url) {
        return Err("is http outside loopback");
    }
    if url.username().is_empty() {
        return Err("holds no key");
    }
    if project.is_empty() || !project.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("names no project");
    }
    Ok(())
}
