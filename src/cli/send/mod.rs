//! `sluice send`: signed sample deliveries, one or many.

mod load;
mod report;
mod wire;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use http::{HeaderName, HeaderValue};
use sluice_actors::{domain::Timestamp, ports::Clock};
use url::Url;

pub(super) use self::wire::{Answer, Target};
use self::{
    load::{Load, Pace},
    wire::Connection,
};
use super::{Global, output};
use crate::{
    clock::SystemClock,
    config::parse_duration,
    ids,
    secrets::{Environment, Reference, Secret, Secrets},
    vendors::{self, Outgoing, Vendor},
};

/// Send signed sample deliveries; with --rate, as a load test.
///
/// They are signed now and as the vendor signs; the status is 1 if one was not accepted.
///
/// With --rate it is a load test in the open model: deliveries are due at fixed moments however slow
/// the answers are, and latency counts from the moment a delivery was due. With --connections alone
/// it sends as fast as the answers come.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sluice send stripe --url http://127.0.0.1:8080/webhooks/acme/payments --secret file:acme.secret\n  sluice send generic --url http://127.0.0.1:8080/webhooks/acme/orders --secret env:ORDERS --rate 1000 --seconds 60\n  sluice send slack --url … --secret env:SLACK --insecure-time=-10m     (a stale one; refused)"
)]
pub(super) struct Send {
    /// Whose deliveries
    #[arg(value_parser = vendors::NAMES)]
    vendor: String,
    /// Where they go; given several times, the connections are shared out among them
    #[arg(long, value_name = "URL", required = true)]
    url: Vec<Url>,
    /// The signing secret (for public-key schemes the private key): `env:NAME`, `file:PATH`, or the
    /// value itself
    #[arg(long, value_name = "SECRET", hide_env_values = true, env = "SLUICE_SEND_SECRET")]
    secret: String,
    /// How many
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    count: Option<u64>,
    /// Deliveries a second, due at fixed moments
    #[arg(long, value_name = "R", requires = "seconds", value_parser = rate)]
    rate: Option<f64>,
    /// For how long
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Connections that are kept alive
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// A body in place of the vendor's sample; `{{id}}` in it becomes the delivery's id
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The delivery's id, so that a second one is a duplicate
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Sign this far from now, such as `-10m`, to see it refused
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true, value_parser = offset)]
    insecure_time: Option<Offset>,
    /// The vendor's own options of the source, as TOML: `webhook_id = "…"`, `scheme = { … }`
    #[arg(long, value_name = "TOML")]
    options: Option<String>,
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate: &f64| *rate > 0.0 && rate.is_finite())
        .ok_or_else(|| "write a number above 0".to_owned())
}

/// A time before or after now.
#[derive(Debug, Clone, Copy)]
struct Offset {
    back: bool,
    by: Duration,
}

fn offset(text: &str) -> Result<Offset, String> {
    let digits = text.trim_start_matches(['+', '-']);
    let by = parse_duration(digits).ok_or("write a duration with a sign, such as `-10m` or `+301s`")?;
    Ok(Offset { back: text.starts_with('-'), by })
}

/// What is sent: everything about it that is the same for all deliveries.
struct Scheme {
    vendor: Arc<dyn Vendor>,
    secret: Secret,
    body: Option<String>,
    id: Option<String>,
    offset: Option<Offset>,
}

/// One signed delivery.
pub(super) struct Delivery {
    content_type: &'static str,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Vec<u8>,
}

impl Scheme {
    /// The next delivery to `url`, signed now, under an id that carries its time.
    fn delivery(&self, url: &str) -> anyhow::Result<Delivery> {
        let now = self.time();
        let id = self.id.clone().unwrap_or_else(|| ids::event_id(now).to_string());
        let body = self.body.as_ref().map(|template| template.replace("{{id}}", &id).into_bytes());
        sign(&*self.vendor, &self.secret, url, &id, now, body).context("--secret does not fit this vendor")
    }

    fn time(&self) -> Timestamp {
        let now = SystemClock.now();
        match self.offset {
            None => now,
            Some(Offset { back: true, by }) => now.minus(by),
            Some(Offset { back: false, by }) => now.plus(by),
        }
    }
}

impl Send {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let pace = match (self.rate, self.seconds, self.count) {
            (Some(per_second), Some(seconds), _) => Pace::Open { per_second, span: Duration::from_secs(seconds) },
            (None, Some(seconds), _) => Pace::Closed { until: Some(Duration::from_secs(seconds)), count: u64::MAX },
            (_, None, count) => Pace::Closed { until: None, count: count.unwrap_or(1) },
        };
        let targets = self.url.iter().map(Target::parse).collect::<anyhow::Result<Vec<_>>>()?;
        let connections = usize::from(self.connections);
        let scheme = self.scheme()?;
        // One thread: it leaves the other cores to the gateway, and needs no locks of its own.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        if let Pace::Closed { until: None, count: 1 } = pace {
            return runtime.block_on(one(&scheme, &targets[0], global));
        }
        let load = Load::new(scheme, targets, pace, connections);
        let report = tokio::task::LocalSet::new().block_on(&runtime, load.run())?;
        if global.json {
            output::json(&report)?;
        } else {
            report.print();
        }
        Ok(if report.all_accepted() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn scheme(self) -> anyhow::Result<Scheme> {
        let options: toml::Table = self.options.as_deref().unwrap_or_default().parse().context("--options")?;
        let vendor = match vendors::build(&self.vendor, &options) {
            Some(Ok(vendor)) => vendor,
            Some(Err(error)) => bail!("--options: {error}"),
            None => bail!("no such vendor: {}", self.vendor),
        };
        let body = match &self.body {
            None => None,
            Some(path) => Some(std::fs::read_to_string(path).with_context(|| format!("--body {}", path.display()))?),
        };
        Ok(Scheme { vendor, secret: secret(self.secret)?, body, id: self.id, offset: self.insecure_time })
    }
}

/// The secret that a reference leads to, or the text itself.
fn secret(text: String) -> anyhow::Result<Secret> {
    match text.parse::<Reference>() {
        Ok(reference) => {
            let secrets = Secrets::local(PathBuf::new(), Environment::Process);
            secrets.resolve(&reference).map_err(|error| {
                let cure = error.cure();
                anyhow::Error::new(error).context(format!("--secret {reference}; {cure}"))
            })
        }
        Err(_) => Ok(Secret::new(text.into_bytes())),
    }
}

/// Sends one delivery and shows the answer.
async fn one(scheme: &Scheme, target: &Target, global: &Global) -> anyhow::Result<ExitCode> {
    let delivery = scheme.delivery(&target.url)?;
    let started = tokio::time::Instant::now();
    let answer = deliver(target, &delivery).await?;
    let took = started.elapsed();
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let accepted = (200..300).contains(&answer.status);
    if global.json {
        output::json(&serde_json::json!({
            "status": answer.status,
            "ms": took.as_secs_f64() * 1000.0,
            "body": serde_json::from_str::<serde_json::Value>(&body).unwrap_or(serde_json::Value::String(body)),
        }))?;
    } else {
        output::line(&format!("{} in {:.1} ms", answer.status, took.as_secs_f64() * 1000.0));
        output::line(&body);
        if answer.status == 401 {
            output::note("why: `sluice why` on the gateway's machine");
        }
    }
    Ok(if accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Signs `body`, or the vendor's own sample, as a delivery to `url` under `id`.
pub(super) fn sign(
    vendor: &dyn Vendor,
    secret: &Secret,
    url: &str,
    id: &str,
    now: Timestamp,
    body: Option<Vec<u8>>,
) -> anyhow::Result<Delivery> {
    let sample = vendor.sample(id, now);
    let body = body.unwrap_or(sample.body);
    let headers = vendor.sign(&Outgoing { url, id, event_type: sample.event_type, now, body: &body }, secret)?;
    Ok(Delivery { content_type: sample.content_type, headers, body })
}

/// Sends one delivery over a connection of its own.
pub(super) async fn deliver(target: &Target, delivery: &Delivery) -> anyhow::Result<Answer> {
    let mut request = Vec::new();
    target.write_request(delivery, &mut request);
    Connection::open(target).await?.exchange(&request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_has_a_sign_and_a_unit() {
        let parsed = offset("-10m").unwrap();
        assert!(parsed.back);
        assert_eq!(parsed.by, Duration::from_mins(10));
        assert!(!offset("301s").unwrap().back);
        assert!(offset("-10").is_err());
    }
}
