//! What a running gateway tells of itself.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sluice_actors::{
    domain::JobState,
    handle::{CalleeSnapshot, LaneStatus},
    ports::{BreakerState, Clock},
};

use super::Finding;
use crate::{
    api::{
        health::Readiness,
        lanes::LaneView,
        nodes::NodeView,
        records::{EventRow, Page, RefusalRow},
    },
    cli::{client::Client, lanes, output},
    clock::SystemClock,
};

/// Whether a gateway runs.
pub(super) enum Health {
    /// None was found.
    None,
    /// One should run, but does not answer.
    Silent(String),
    /// It answers.
    Answers(Readiness),
}

impl Health {
    pub(super) const fn answers(&self) -> bool {
        matches!(self, Self::Answers(_))
    }
}

/// How many rows of one kind are told.
const MOST: usize = 10;
/// How far back refused deliveries matter.
const RECENT: Duration = Duration::from_hours(24);

/// Asks `/healthz` and `/readyz`.
pub(super) async fn health(client: &Client) -> Health {
    let asked = async {
        client.health::<Value>("healthz").await?;
        client.health::<Readiness>("readyz").await
    };
    match asked.await {
        Ok(readiness) => Health::Answers(readiness),
        Err(error) => Health::Silent(format!("{error:#}")),
    }
}

/// What is to be said of the gateway.
pub(super) async fn findings(client: Option<&Client>, health: Health) -> Vec<Finding> {
    const CHECK: &str = "gateway";
    let readiness = match health {
        Health::None => {
            return vec![Finding::warn(CHECK, "none runs with this configuration", "start it with `sluice serve`")];
        }
        Health::Silent(error) => return vec![Finding::warn(CHECK, error, "")],
        Health::Answers(readiness) => readiness,
    };
    let mut findings = Vec::new();
    if readiness.ready {
        findings.push(Finding::ok(CHECK, "is alive and ready"));
    }
    for check in readiness.checks.iter().filter(|check| !check.ok) {
        let cure = "see docs/runbooks/store-unavailable.md, and the log";
        findings.push(Finding::bad(CHECK, format!("is not ready, {}: {}", check.name, check.detail), cure));
    }
    if let Some(client) = client {
        match records(client).await {
            Ok(more) => findings.extend(more),
            Err(error) => findings.push(Finding::bad(CHECK, format!("{error:#}"), "")),
        }
    }
    findings
}

async fn records(client: &Client) -> anyhow::Result<Vec<Finding>> {
    let lanes: Vec<LaneView> = lanes::all(client).await?;
    let callees: Vec<CalleeSnapshot> = get(client, "callees", &json!({})).await?;
    let quarantined: Page<EventRow> = get(client, "events", &json!({ "state": "quarantined", "limit": 500 })).await?;
    let refusals: Vec<RefusalRow> = get(client, "refusals", &json!({ "limit": 500 })).await?;
    let mut findings = stopped(&lanes);
    findings.extend(held(&lanes, &callees));
    findings.push(dead(&lanes));
    findings.push(match quarantined.items.len() {
        0 => Finding::ok("quarantine", "no event is quarantined"),
        events => Finding::warn(
            "quarantine",
            format!("{}{}", output::count(events, "event"), if quarantined.next.is_some() { " or more" } else { "" }),
            "`sluice events --state quarantined` lists them, see docs/runbooks/schema-change.md",
        ),
    });
    findings.push(refused(&refusals));
    findings.extend(alike(&get::<Vec<NodeView>>(client, "nodes", &json!({})).await?));
    Ok(findings)
}

async fn get<T: DeserializeOwned>(client: &Client, path: &str, query: &Value) -> anyhow::Result<T> {
    client.get(path, query).await
}

/// Whether the nodes that share the store are configured alike.
fn alike(nodes: &[NodeView]) -> Vec<Finding> {
    const CHECK: &str = "nodes";
    let differing: Vec<Finding> = nodes
        .iter()
        .filter(|node| !node.differs.is_empty())
        .map(|node| {
            let detail = format!("node {} has tenants configured differently: {}", node.id, node.differs.join(", "));
            Finding::bad(CHECK, detail, "give all nodes the same files, see docs/runbooks/nodes.md")
        })
        .collect();
    match (nodes.len(), differing.is_empty()) {
        (0, _) => Vec::new(),
        (live, true) => vec![Finding::ok(CHECK, format!("{}, configured alike", output::count(live, "live node")))],
        (_, false) => differing,
    }
}

/// Lanes that begin nothing.
fn stopped(lanes: &[LaneView]) -> Vec<Finding> {
    const CHECK: &str = "lanes";
    let mut findings: Vec<Finding> = lanes
        .iter()
        .filter_map(|view| {
            let snapshot = view.snapshot.as_ref()?;
            let lane = &view.lane;
            let why = snapshot.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            match snapshot.status {
                LaneStatus::Flowing | LaneStatus::Held => None,
                LaneStatus::Paused => Some(Finding::warn(
                    CHECK,
                    format!("{lane} is paused{why}"),
                    format!("`sluice lanes resume {lane}`"),
                )),
                LaneStatus::Parked => Some(Finding::bad(
                    CHECK,
                    format!("{lane} is parked, it panicked too often{why}"),
                    format!("look at the log; `sluice lanes resume {lane}` tries it again"),
                )),
                LaneStatus::Unconfigured => Some(Finding::warn(
                    CHECK,
                    format!("{lane} has jobs and no enabled source{why}"),
                    "enable it in the tenant file, or cancel its jobs",
                )),
            }
        })
        .take(MOST)
        .collect();
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, format!("{}, none paused or parked", output::count(lanes.len(), "lane"))));
    }
    findings
}

/// Callees that are not called.
fn held(lanes: &[LaneView], callees: &[CalleeSnapshot]) -> Vec<Finding> {
    const CHECK: &str = "breakers";
    let now = SystemClock.now();
    let mut findings = Vec::new();
    for callee in callees {
        if let Some(until) = callee.unauthorized_until.filter(|until| *until > now) {
            findings.push(Finding::bad(
                CHECK,
                format!("{} refuses our credentials, the next try is {}", callee.callee, output::age(now, until)),
                "correct its key or token in the configuration; it is read again by itself",
            ));
        } else if callee.state != BreakerState::Closed {
            findings.push(open(&callee.callee.to_string(), callee.state, "any lane"));
        }
    }
    let breakers = lanes.iter().filter_map(|view| Some((&view.lane, view.snapshot.as_ref()?)));
    for (lane, snapshot) in breakers {
        for breaker in snapshot.breakers.iter().filter(|breaker| breaker.state != BreakerState::Closed) {
            findings.push(open(&breaker.callee.to_string(), breaker.state, &lane.to_string()));
        }
    }
    findings.truncate(MOST);
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "all are closed"));
    }
    findings
}

fn open(callee: &str, state: BreakerState, lane: &str) -> Finding {
    Finding::warn(
        "breakers",
        format!("{} for {lane} to {callee}", state.as_str()),
        "it closes by itself once the callee is well; see docs/runbooks/breaker-open.md",
    )
}

fn dead(lanes: &[LaneView]) -> Finding {
    const CHECK: &str = "dead letters";
    let of_lane = |view: &LaneView| {
        let jobs = view.backlog.as_ref().map(|backlog| backlog.jobs.as_slice()).unwrap_or_default();
        jobs.iter().filter(|(state, _)| *state == JobState::DeadLetter).map(|(_, count)| *count).sum::<u64>()
    };
    match lanes.iter().map(of_lane).sum::<u64>() {
        0 => Finding::ok(CHECK, "none"),
        jobs => Finding::warn(
            CHECK,
            format!("{} will not be tried again by itself", output::count(jobs as usize, "job")),
            "`sluice dead list` says why, `sluice dead replay` brings them back",
        ),
    }
}

fn refused(refusals: &[RefusalRow]) -> Finding {
    const CHECK: &str = "refusals";
    let now = SystemClock.now();
    let recent: Vec<&RefusalRow> = refusals.iter().filter(|row| now.since(row.at) < RECENT).collect();
    match recent.first() {
        None => Finding::ok(CHECK, "no delivery to a known source was refused within a day"),
        Some(newest) => Finding::warn(
            CHECK,
            format!(
                "{} refused within a day, the newest {} ago at {}/{} ({})",
                if recent.len() == 1 { "1 delivery".to_owned() } else { format!("{} deliveries", recent.len()) },
                output::age(now, newest.at),
                newest.tenant,
                newest.source,
                newest.reason
            ),
            format!("`sluice why {}` says why", newest.id),
        ),
    }
}
