//! `sluice why`.

mod request;

use std::{collections::BTreeMap, fs, io::Read, process::ExitCode};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use sluice_actors::{
    domain::{SourceName, TenantName, Timestamp},
    ports::Clock,
};

use self::request::Saved;
use super::{
    Global,
    client::{Api, Client},
    filter::moment,
    output,
};
use crate::{
    api::records::RefusalRow,
    clock::SystemClock,
    config::{self, Source, Tenant},
    ingest::diagnose::{Case, diagnose},
    vendors::{Key, Reading, Refusal, Request},
};

/// Say why a delivery did not verify.
///
/// It tries what usually goes wrong: another secret, a changed body, a wrong clock, another way to
/// write the signature.
///
/// Without an argument it lists the last refused deliveries of each source; the gateway keeps 50 of
/// each, redacted. A request saved as text is checked here, against the configuration, without a
/// gateway.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sluice why\n  sluice why 17\n  sluice why saved.http\n  sluice why saved.http --tenant acme --source payments --at 2026-11-24T08:00:00Z\n\nA saved request is the request line, the headers, an empty line, and the body to the byte. The\nstatus is 0 if it verifies, 1 if it does not."
)]
pub(super) struct Why {
    /// A refused delivery by its number, or a file with a whole request (`-`: standard input)
    #[arg(value_name = "FILE|REFUSAL")]
    what: Option<String>,
    /// The tenant; of a saved request the one in its path, unless this says otherwise
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantName>,
    /// The source; as with the tenant
    #[arg(long, value_name = "NAME", requires = "tenant")]
    source: Option<SourceName>,
    /// When a saved request arrived, as an age or a time; otherwise it arrives now
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    at: Option<Timestamp>,
    /// How many are listed of each source
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=50))]
    limit: u16,
    #[command(flatten)]
    api: Api,
}

impl Why {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match &self.what {
            None => self.list(global).await,
            Some(what) => match what.parse::<i64>() {
                Ok(number) => self.show(number, global).await,
                Err(_) => self.file(what, global),
            },
        }
    }

    async fn list(&self, global: &Global) -> anyhow::Result<ExitCode> {
        // All that the gateway keeps of one source, or the newest of all sources.
        let query = json!({ "tenant": self.tenant, "source": self.source, "limit": 500 });
        let rows: Vec<RefusalRow> = Client::connect(&self.api, global)?.get("refusals", &query).await?;
        let rows = newest_of_each(rows, self.limit.into());
        if global.json {
            output::json(&rows)?;
            return Ok(ExitCode::SUCCESS);
        }
        let now = SystemClock.now();
        let cells = rows.iter().map(|row| {
            vec![
                row.id.to_string(),
                format!("{}/{}", row.tenant, row.source),
                output::age(now, row.at),
                row.reason.clone(),
                row.peer.clone(),
                output::clip(&row.hint, 80),
            ]
        });
        let none = "no refused deliveries are kept. One to a tenant or source that does not exist leaves only a log line: compare its URL";
        output::table(&["NUMBER", "SOURCE", "AGE", "REASON", "FROM", "WHY"], cells.collect(), none);
        if !rows.is_empty() {
            output::note("\n`sluice why NUMBER` shows one whole");
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn show(&self, number: i64, global: &Global) -> anyhow::Result<ExitCode> {
        let row: RefusalRow = Client::connect(&self.api, global)?.get(&format!("refusals/{number}"), &()).await?;
        if global.json {
            output::json(&row)?;
            return Ok(ExitCode::SUCCESS);
        }
        output::facts(&[
            ("why", row.hint.clone()),
            ("reason", row.reason.clone()),
            ("source", format!("{}/{}", row.tenant, row.source)),
            ("at", format!("{} ({} ago)", row.at, output::age(SystemClock.now(), row.at))),
            ("from", row.peer.clone()),
            ("body", format!("{} bytes", row.body_bytes)),
        ]);
        output::line(&format!("\n{}", row.request));
        for (name, value) in row.headers.as_object().into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            output::line(&format!("{name}: {value}"));
        }
        output::line(&format!("\n{}", row.body));
        Ok(ExitCode::SUCCESS)
    }

    fn file(&self, path: &str, global: &Global) -> anyhow::Result<ExitCode> {
        let bytes = if path == "-" {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
            bytes
        } else {
            fs::read(path).with_context(|| format!("{path} is no number of a refused delivery and no file"))?
        };
        let saved = Saved::parse(&bytes).map_err(|error| anyhow::anyhow!("{path} {error:#}"))?;
        let config = config::load(&global.config)?;
        let (tenant, source) = self.endpoint(&saved, &config)?;
        let url = format!("{}{}", config.edge.origin(), saved.target);
        let now = self.at.unwrap_or_else(|| SystemClock.now());
        let request = Request { method: &saved.method, url: &url, headers: &saved.headers, body: &saved.body, now };
        let verdict = Verdict::of(tenant, source, request);
        if global.json {
            output::json(&verdict)?;
        } else {
            if let Some(odd) = &saved.odd {
                output::warn(odd);
            }
            output::line(&format!("{}: {}", verdict.lane, verdict.why));
            if !source.access.allow_from.is_empty() || source.access.certificate.is_some() {
                output::note(
                    "a file does not tell who sent it: `allow_from` and `client_certificate` of the source were not looked at",
                );
            }
            if verdict.reason == Some(Refusal::StaleTimestamp.as_str()) && self.at.is_none() {
                output::note("it was taken as arriving now; say when it arrived with --at");
            }
        }
        Ok(if verdict.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The source that is asked for: the options, else the path.
    fn endpoint<'c>(&self, saved: &Saved, config: &'c config::Config) -> anyhow::Result<(&'c Tenant, &'c Source)> {
        let (in_path_tenant, in_path_source) = saved.endpoint().unzip();
        let tenant = self.tenant.as_ref().map(TenantName::as_str).or(in_path_tenant);
        let source = self.source.as_ref().map(SourceName::as_str).or(in_path_source);
        let (Some(tenant), Some(source)) = (tenant, source) else {
            bail!("{} is no path of a source; say whose it is with --tenant and --source", saved.target);
        };
        let known: Vec<String> =
            config.tenants.values().flat_map(|t| t.sources.keys().map(|s| format!("{}/{s}", t.name))).collect();
        let found = config.tenants.values().find(|known| known.name.as_str() == tenant);
        let found = found.and_then(|found| {
            let (_, source) = found.sources.iter().find(|(name, _)| name.as_str() == source)?;
            Some((found.as_ref(), source.as_ref()))
        });
        found.with_context(|| {
            format!(
                "there is no source {tenant}/{source}: the vendor calls a wrong URL, or --tenant and --source say which is meant (known: {})",
                known.join(", ")
            )
        })
    }
}

/// What the gateway would say to a request, and why.
#[derive(Debug, Serialize)]
struct Verdict {
    lane: String,
    /// Whether it would be stored.
    accepted: bool,
    /// The refusal's word; `malformed` where only the envelope is unusable; none if accepted.
    reason: Option<&'static str>,
    why: String,
}

impl Verdict {
    fn of(tenant: &Tenant, source: &Source, request: Request<'_>) -> Self {
        let live: Vec<_> = source.keys.iter().filter(|key| key.is_live(request.now)).collect();
        let keys: Vec<Key> = live.iter().map(|key| key.key.clone()).collect();
        let verified = if !source.enabled {
            Err(Refusal::Disabled)
        } else if keys.is_empty() {
            Err(Refusal::NoLiveSecret)
        } else {
            source.vendor.verify(&request, &keys, source.tolerance)
        };
        let (reason, why) = match verified {
            Err(refusal) => {
                let found = diagnose(&Case { source, tenant: Some(tenant), request, refusal });
                (Some(refusal.as_str()), format!("{}; {found}", refusal.as_str()))
            }
            Ok(verified) => match source.vendor.read(&request, &verified, &keys) {
                Ok(reading) => (None, format!("verifies with {}; {}", live[verified.key].version, told(&reading))),
                Err(malformed) => {
                    (Some("malformed"), format!("the signature is right, the content is not usable: {malformed}"))
                }
            },
        };
        Self { lane: source.lane.to_string(), accepted: reason.is_none(), reason, why }
    }
}

fn told(reading: &Reading) -> String {
    match reading {
        Reading::Handshake(answer) => format!("a handshake, answered with {}", answer.status),
        Reading::Events(events) => {
            let events: Vec<String> =
                events.iter().map(|event| format!("{} {}", event.event_type, event.external_id)).collect();
            events.join(", ")
        }
    }
}

/// At most `limit` of each source, in the order of the rows.
fn newest_of_each(rows: Vec<RefusalRow>, limit: usize) -> Vec<RefusalRow> {
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    let keep = |row: &RefusalRow| {
        let count = seen.entry((row.tenant.clone(), row.source.clone())).or_default();
        *count += 1;
        *count <= limit
    };
    let mut kept = rows;
    kept.retain(keep);
    kept
}
