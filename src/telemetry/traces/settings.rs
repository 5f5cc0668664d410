//! Whether, where to and which: `[telemetry.traces]`, and where that is silent the variables of
//! OpenTelemetry's specification.

use std::fmt;

use sluice_actors::domain::TraceId;
use url::Url;

use super::TracesError;
use crate::config;

/// The path that spans have at a collector.
const PATH: &str = "v1/traces";
/// The part of traces that is kept where nobody says: all of them.
const DEFAULT_RATIO: f64 = 1.0;
/// Spans that may wait to be sent, unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise.
const QUEUE: usize = 8192;

/// What was configured.
#[derive(Debug, PartialEq)]
pub(super) struct Settings {
    /// Where spans are sent to.
    pub(super) endpoint: Url,
    /// Which are kept.
    pub(super) sampler: Sampler,
    /// Spans that may wait to be sent.
    pub(super) queue: usize,
    /// What the service is called.
    pub(super) service: String,
}

impl Settings {
    /// `None` where nobody says where to, or somebody switched it off.
    pub(super) fn resolve(
        config: &config::Traces,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, TracesError> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let is = |name: &str, word: &str| variable(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(word));
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let base = |key, text: &str| parse(key, &format!("{}/{PATH}", text.trim_end_matches('/')));
        let endpoint = if let Some(url) = &config.endpoint {
            base("telemetry.traces.endpoint", url.as_str())?
        } else if let Some(text) = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
            parse("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &text)?
        } else if let Some(text) = variable("OTEL_EXPORTER_OTLP_ENDPOINT") {
            base("OTEL_EXPORTER_OTLP_ENDPOINT", &text)?
        } else {
            return Ok(None);
        };
        let sampler = match config.ratio {
            Some(ratio) => Sampler { follows_parent: true, ratio },
            None => Sampler::of_variables(&variable)?,
        };
        let queue = variable("OTEL_BSP_MAX_QUEUE_SIZE").and_then(|text| text.trim().parse().ok());
        Ok(Some(Self {
            endpoint,
            sampler,
            queue: queue.filter(|queue| *queue > 0).unwrap_or(QUEUE),
            service: variable("OTEL_SERVICE_NAME").unwrap_or_else(|| "sluice".into()),
        }))
    }
}

fn parse(key: &'static str, text: &str) -> Result<Url, TracesError> {
    let refuse = |reason: &str| TracesError::Setting { key, reason: reason.to_owned() };
    let url: Url = text.trim().parse().map_err(|_| refuse("is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(refuse("is not a URL of http or https: spans are sent by OTLP over HTTP"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("has a credential in the URL: put it into OTEL_EXPORTER_OTLP_HEADERS"));
    }
    Ok(url)
}

/// Which traces are kept. A trace is kept whole or not at all: what begins it decides, by its id.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sampler {
    /// Whether a trace that a vendor began is kept where the vendor keeps it.
    follows_parent: bool,
    /// The part of those that begin here.
    ratio: f64,
}

impl Sampler {
    fn of_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, TracesError> {
        let refuse = |key, reason: &str| TracesError::Setting { key, reason: reason.to_owned() };
        let argument = || match variable("OTEL_TRACES_SAMPLER_ARG") {
            None => Ok(1.0),
            Some(text) => text
                .trim()
                .parse()
                .ok()
                .filter(|ratio| (0.0..=1.0).contains(ratio))
                .ok_or_else(|| refuse("OTEL_TRACES_SAMPLER_ARG", "is not a number from 0 to 1")),
        };
        let Some(name) = variable("OTEL_TRACES_SAMPLER") else {
            return Ok(Self { follows_parent: true, ratio: DEFAULT_RATIO });
        };
        let (follows_parent, rule) = match name.trim().strip_prefix("parentbased_") {
            Some(rule) => (true, rule),
            None => (false, name.trim()),
        };
        let ratio = match rule {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => argument()?,
            _ => {
                let known = "is none of always_on, always_off and traceidratio, with or without `parentbased_`";
                return Err(refuse("OTEL_TRACES_SAMPLER", known));
            }
        };
        Ok(Self { follows_parent, ratio })
    }

    /// Whether a trace is kept; `parent`: what the one says that began it elsewhere.
    pub(super) fn samples(self, trace: TraceId, parent: Option<bool>) -> bool {
        if let Some(parent) = parent.filter(|_| self.follows_parent) {
            return parent;
        }
        // By the last 56 bits, as the standard has it: whoever keeps less keeps a part of the same.
        let bytes = trace.as_bytes();
        let random =
            u64::from_be_bytes([0, bytes[9], bytes[10], bytes[11], bytes[12], bytes[13], bytes[14], bytes[15]]);
        random as f64 >= (1.0 - self.ratio) * (1_u64 << 56) as f64
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.follows_parent { "parentbased_" } else { "" };
        write!(f, "{prefix}traceidratio({})", self.ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(config: &config::Traces, variables: &[(&str, &str)]) -> Result<Option<Settings>, TracesError> {
        let get = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::resolve(config, &get)
    }

    fn configured(endpoint: Option<&str>, ratio: Option<f64>) -> config::Traces {
        config::Traces { endpoint: endpoint.map(|url| url.parse().unwrap()), ratio }
    }

    #[test]
    fn spans_go_where_the_file_says_and_else_where_the_variables_say() {
        let silent = configured(None, None);
        let file = configured(Some("http://collector:4318"), None);
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://base:4318/");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://own:1/spans");
        for (config, variables, expected) in [
            (&silent, &[][..], None),
            (&silent, &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], None),
            (&silent, &[base], Some("http://base:4318/v1/traces")),
            (&silent, &[base, own], Some("https://own:1/spans")),
            (&file, &[base, own], Some("http://collector:4318/v1/traces")),
            (&file, &[("OTEL_SDK_DISABLED", "TRUE")], None),
            (&file, &[("OTEL_TRACES_EXPORTER", "none")], None),
        ] {
            let found = resolve(config, variables).unwrap().map(|settings| settings.endpoint.to_string());
            assert_eq!(found.as_deref(), expected, "{variables:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named_and_not_repeated() {
        let file = configured(Some("http://collector:4318"), None);
        for (variables, key) in [
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://me:hunter2@c")][..], "OTEL_EXPORTER_OTLP_ENDPOINT"),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "hunter2")], "OTEL_EXPORTER_OTLP_ENDPOINT"),
            (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://hunter2")], "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ] {
            let error = resolve(&configured(None, None), variables).unwrap_err().to_string();
            assert!(error.starts_with(key) && !error.contains("hunter2"), "{error}");
        }
        for (variables, key) in [
            (&[("OTEL_TRACES_SAMPLER", "xray")][..], "OTEL_TRACES_SAMPLER "),
            (&[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")], "OTEL_TRACES_SAMPLER_ARG"),
        ] {
            assert!(resolve(&file, variables).unwrap_err().to_string().starts_with(key));
        }
    }

    #[test]
    fn the_ratio_of_the_file_wins_over_the_variables() {
        let sampler = |config: &config::Traces, variables: &[(&str, &str)]| {
            resolve(config, variables).unwrap().unwrap().sampler.to_string()
        };
        let file = configured(Some("http://c:1"), None);
        let arg = ("OTEL_TRACES_SAMPLER_ARG", "0.25");
        for (name, expected) in [
            ("always_on", "traceidratio(1)"),
            ("always_off", "traceidratio(0)"),
            ("traceidratio", "traceidratio(0.25)"),
            ("parentbased_always_on", "parentbased_traceidratio(1)"),
            ("parentbased_always_off", "parentbased_traceidratio(0)"),
            ("parentbased_traceidratio", "parentbased_traceidratio(0.25)"),
        ] {
            let variables = [("OTEL_TRACES_SAMPLER", name), arg];
            assert_eq!(sampler(&file, &variables), expected);
            let by_file = configured(Some("http://c:1"), Some(0.5));
            assert_eq!(sampler(&by_file, &variables), "parentbased_traceidratio(0.5)");
        }
        assert_eq!(sampler(&file, &[]), "parentbased_traceidratio(1)");
    }

    #[test]
    fn a_trace_is_kept_by_its_id_and_by_what_its_parent_says() {
        let half = Sampler { follows_parent: true, ratio: 0.5 };
        let trace = |byte: u8| TraceId::from_bytes([1, 1, 1, 1, 1, 1, 1, 1, 255, byte, 0, 0, 0, 0, 0, 0]).unwrap();
        assert!(half.samples(trace(0x80), None) && !half.samples(trace(0x7f), None));
        assert!(half.samples(trace(0x7f), Some(true)) && !half.samples(trace(0x80), Some(false)));
        let stubborn = Sampler { follows_parent: false, ratio: 1.0 };
        assert!(stubborn.samples(trace(0), Some(false)));
        let none = Sampler { follows_parent: true, ratio: 0.0 };
        assert!(!none.samples(trace(0xff), None));
    }
}
