//! What the gateway and a WordPress site tell each other besides results (DESIGN §7): states of jobs go
//! to the site, and what its editors ask for comes back in the answer. The gateway calls, always: the
//! screen of the editors is right on a site that cannot reach the gateway.

use http::Method;
use serde::{Deserialize, Serialize};
use sluice_actors::domain::{JobId, JobState, TenantName, Timestamp};

use super::{
    token::{self, Claims, Vouched},
    wordpress,
};
use crate::{
    config::{Config, WordPress},
    http_client::{Answer, Call, CallError},
    json::parse_strict,
};

/// Jobs that one report holds at most: with the longest errors it stays below the plugin's 64 KiB.
pub const MAX_JOBS: usize = 50;
/// Characters of an error that are told.
const MAX_ERROR: usize = 300;

/// Where a call goes: each door of the plugin wants a token of its own scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// States of jobs; answered with what the site asks for.
    Status,
    /// Runs the site's follow-ups.
    Outbox,
    /// The gateway's part of a self-test.
    SelfTest,
}

impl Door {
    const fn path(self) -> &'static str {
        match self {
            Self::Status => "/sluice/v1/status",
            Self::Outbox => "/sluice/v1/outbox/run",
            Self::SelfTest => "/sluice/v1/self-test",
        }
    }

    const fn scope(self) -> &'static str {
        match self {
            Self::Status => "status:write",
            Self::Outbox => "outbox:run",
            Self::SelfTest => "self_test:write",
        }
    }
}

/// A report.
#[derive(Debug, Serialize)]
pub struct Report {
    schema_version: u32,
    /// Jobs that changed, at most [`MAX_JOBS`].
    pub jobs: Vec<JobReport>,
    /// What became of the site's requests.
    pub answers: Vec<Answered>,
}

impl Report {
    /// A report of the contract's first version.
    pub fn new(jobs: Vec<JobReport>, answers: Vec<Answered>) -> Self {
        Self { schema_version: 1, jobs, answers }
    }
}

/// What a site is told of a job: no payload, no subject.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the columns of `jobs`, DESIGN §5")]
pub struct JobReport {
    pub job_id: JobId,
    #[serde(rename = "type")]
    pub kind: String,
    pub source: String,
    pub route: String,
    pub state: JobState,
    pub attempts: u32,
    pub next_run_at: Option<Timestamp>,
    pub last_error: String,
    pub updated_at: Timestamp,
}

/// As much of an error as is told.
pub fn told(error: &str) -> String {
    error.chars().take(MAX_ERROR).collect()
}

/// The end of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// The site's number of the request.
    pub id: u64,
    /// What became of it.
    pub outcome: Ending,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// It was done.
    Done,
    /// It cannot be done.
    Refused,
}

/// What a site asks for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Request {
    /// The site's number of it.
    pub id: u64,
    /// What to do.
    pub kind: Kind,
    /// To which job; empty where it is about none.
    #[serde(default)]
    pub job_id: String,
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Bring a dead letter back.
    Retry,
    /// Do not try it any more.
    Dismiss,
    /// Call back.
    SelfTest,
    /// A newer plugin's word.
    #[serde(other)]
    Unknown,
}

/// The site's answer to a report.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Reply {
    /// The plugin says so, not a page of a firewall.
    ok: bool,
    /// What it asks for.
    #[serde(default)]
    pub requests: Vec<Request>,
    /// Follow-ups that wait.
    #[serde(default)]
    pub outbox_due: u64,
}

/// One call to a tenant's site, signed.
///
/// # Errors
/// What is wrong with the configuration.
pub fn call(
    config: &Config,
    (tenant, site): (&TenantName, &WordPress),
    door: Door,
    body: &impl Serialize,
    (now, jti): (Timestamp, [u8; 16]),
) -> Result<Call, &'static str> {
    let key = token::signing_key(site, now)?;
    let body = serde_json::to_vec(body).expect("a report has only string keys");
    let gateway = token::gateway_id(config);
    let vouched = Vouched {
        gateway: &gateway,
        site_uuid: &site.site_uuid,
        tenant: tenant.as_str(),
        scope: door.scope(),
        attempt: None,
        body: &body,
    };
    let token = key.sign(&Claims::new(&vouched, now, jti));
    let mut call = Call::new(Method::POST, url(site, door)?);
    call.headers = wordpress::headers(&token, site.authorization_header);
    call.body = Some(body.into());
    Ok(call)
}

/// The door stands beside the callback's.
fn url(site: &WordPress, door: Door) -> Result<url::Url, &'static str> {
    const CALLBACKS: &str = "/sluice/v1/callbacks";
    if !site.callback.contains(CALLBACKS) {
        return Err("its callback does not name /sluice/v1/callbacks");
    }
    let callback = site.callback.replacen(CALLBACKS, door.path(), 1);
    format!("{}{callback}", site.site.as_str().trim_end_matches('/'))
        .parse()
        .map_err(|_| "site and callback make no URL")
}

/// The plugin's answer, or why there is none; tells nothing that a stranger wrote.
///
/// # Errors
/// Why, in an operator's words.
pub fn reply(answer: Result<Answer, CallError>) -> Result<Reply, String> {
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status != http::StatusCode::OK {
        return Err(format!("answered {}", answer.status));
    }
    let value = answer.whole().ok().and_then(|body| parse_strict(body).ok());
    let reply = value.and_then(|value| Reply::deserialize(value).ok()).filter(|reply| reply.ok);
    reply.ok_or_else(|| "answered 200 with something that is not the plugin's".to_owned())
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::*;
    use crate::{config::Input, secrets::Environment};

    fn config(more: &str) -> Config {
        let key = include_str!("../../tests/fixtures/wordpress/signing-key.pem");
        let tenant = format!(
            "[wordpress]\nsite = 'https://acme.example/blog'\nsite_uuid = '7f8f0a2e-3c1b-4d5e-9f60-718293a4b5c6'\n\
             signing_key = 'env:SIGNING'\n{more}"
        );
        let environment = Environment::fixed([("SIGNING", key)]);
        Input::new("cfg").environment(environment).tenant("acme", &tenant).resolve().unwrap()
    }

    fn made(config: &Config, door: Door) -> Call {
        let tenant = config.tenants.values().next().unwrap();
        let site = tenant.wordpress.as_deref().unwrap();
        let now = Timestamp::parse_rfc3339("2026-11-24T08:00:05Z").unwrap();
        call(config, (&tenant.name, site), door, &Report::new(Vec::new(), Vec::new()), (now, [7; 16])).unwrap()
    }

    #[test]
    fn each_door_has_its_path_beside_the_callbacks_and_a_scope_of_its_own() {
        let doors = [
            (Door::Status, "status", "status:write"),
            (Door::Outbox, "outbox/run", "outbox:run"),
            (Door::SelfTest, "self-test", "self_test:write"),
        ];
        let (plain, pretty) = (config(""), config("callback = '/wp-json/sluice/v1/callbacks'"));
        for (door, path, scope) in doors {
            let call = made(&plain, door);
            assert_eq!(call.url.as_str(), format!("https://acme.example/blog/?rest_route=/sluice/v1/{path}"));
            let url = made(&pretty, door).url;
            assert_eq!(url.as_str(), format!("https://acme.example/blog/wp-json/sluice/v1/{path}"));
            let token = call.headers["x-sluice-authorization"].to_str().unwrap();
            let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
            let claims: Value = serde_json::from_slice(&claims).unwrap();
            assert_eq!(claims["scope"], scope);
            assert_eq!((claims.get("job_id"), claims.get("fence")), (None, None), "no attempt's token");
        }
    }

    #[test]
    fn requests_of_a_newer_plugin_are_no_failure() {
        let reply: Reply = serde_json::from_value(json!({
            "ok": true, "cursor": null, "outbox_due": 2, "later": 1,
            "requests": [
                { "id": 1, "kind": "retry", "job_id": "job_x" },
                { "id": 2, "kind": "self_test", "job_id": "" },
                { "id": 3, "kind": "dance" },
            ],
        }))
        .unwrap();
        let kinds: Vec<Kind> = reply.requests.iter().map(|request| request.kind).collect();
        assert_eq!((kinds, reply.outbox_due), (vec![Kind::Retry, Kind::SelfTest, Kind::Unknown], 2));
    }

    #[test]
    fn a_long_error_is_cut_at_a_character() {
        assert_eq!(told(&"ä".repeat(400)).chars().count(), MAX_ERROR);
    }
}
