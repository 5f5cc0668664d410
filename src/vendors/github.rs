//! GitHub: the body is signed, and nothing else.
//!
//! `X-Hub-Signature-256: sha256=…` is the hex HMAC-SHA256 of the body, form or JSON. The event's name
//! and id are headers outside it, and no time is signed, so content decides about duplicates and a
//! captured request stays a duplicate for as long as its secret lives. GitHub never retries by itself.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use sluice_actors::domain::Timestamp;

use super::{
    Envelope, InvalidKey, Key, Malformed, OnConflict, Outgoing, Profile, Reading, Refusal, Request, Sample, Vendor,
    Verified, field,
    form::{self, Repeated},
    header, key, mac, window,
};
use crate::secrets::Secret;

static SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");
static EVENT: HeaderName = HeaderName::from_static("x-github-event");
static DELIVERY: HeaderName = HeaderName::from_static("x-github-delivery");

static PROFILE: Profile = Profile {
    content_types: &["application/json", "application/x-www-form-urlencoded"],
    // GitHub's own cap. It sends once, so a 413 would lose the event.
    max_body: 25 * 1024 * 1024,
    tolerance: window::FIVE_MINUTES,
    success: StatusCode::OK,
    on_conflict: OnConflict::Revision,
    volatile: &[],
    signs_time: false,
    signs_url: false,
    weak: false,
    id_only: &[],
    setup: "GitHub, repository or organisation Settings, Webhooks, Add webhook: the URL, content type \
            application/json, and the same secret as here.",
};

/// The scheme; it has no options.
#[derive(Debug)]
pub(super) struct GitHub;

impl Vendor for GitHub {
    fn name(&self) -> &'static str {
        "github"
    }

    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        key::symmetric(secret)
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], _tolerance: Duration) -> Result<Verified, Refusal> {
        let signature = header::needed(request, &SIGNATURE)?.strip_prefix("sha256=").and_then(mac::hex);
        let signature = signature.ok_or(Refusal::MalformedSignature)?;
        let key = mac::matching(keys, &[signature], |key| mac::hmac_sha256(key, &[request.body]))?;
        Ok(Verified { key, signed_at: None })
    }

    fn read(&self, request: &Request<'_>, _verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        let event = header::envelope_needed(request, &EVENT)?;
        let id = field::id(header::envelope_needed(request, &DELIVERY)?)?;
        let payload = if header::is_form(request) {
            let fields = form::object(request.body, Repeated::Refused)?;
            field::object(field::needed(&fields, "payload")?.as_bytes())?
        } else {
            field::object(request.body)?
        };
        let event_type = field::event_type(match field::text(&payload, &["action"]) {
            Some(action) => format!("{event}.{action}"),
            None => event.to_owned(),
        })?;
        Ok(Reading::one(Envelope {
            id_signed: false,
            subject_id: subject(&payload).and_then(field::subject),
            occurred_at: occurred_at(&payload),
            unsigned_topic: Some(event.to_owned()),
            ..Envelope::new(id, event_type, payload)
        }))
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let code = mac::hmac_sha256(secret.expose(), &[sample.body]);
        let event = sample.event_type.split('.').next().unwrap_or_default();
        Ok(vec![
            (SIGNATURE.clone(), header::made(&format!("sha256={}", hex::encode(code)))),
            (EVENT.clone(), header::made(event)),
            (DELIVERY.clone(), header::made(sample.id)),
        ])
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        let number = u16::from_be_bytes(mac::digest(&[id.as_bytes()])[..2].try_into().unwrap_or_default());
        Sample::json(
            "pull_request.opened",
            &json!({
                "action": "opened",
                "number": number,
                "pull_request": {
                    "id": 1_882_456_789,
                    "number": number,
                    "state": "open",
                    "title": "Answer webhooks before the work is done",
                    "body": "The queue now holds the work; the answer needs only the commit.",
                    "html_url": format!("https://github.com/example/gateway/pull/{number}"),
                    "draft": false,
                    "merged": false,
                    "created_at": now.to_string(),
                    "updated_at": now.to_string(),
                    "user": {"login": "ada-example", "id": 1001, "type": "User"},
                    "head": {"ref": "queue", "sha": "6dcb09b5b57875f334f61aebed695e2e4193db5e"},
                    "base": {"ref": "main", "sha": "9049f1265b7d61be4a8904a9a27120d2064dab3b"},
                },
                "repository": {"id": 35_129_377, "name": "gateway", "full_name": "example/gateway", "private": false},
                "sender": {"login": "ada-example", "id": 1001, "type": "User"},
            }),
        )
    }
}

/// The narrowest thing the payload names, under its repository or organisation.
fn subject(payload: &Value) -> Option<String> {
    let home = field::text(payload, &["repository", "full_name"])
        .or_else(|| field::text(payload, &["organization", "login"]))?;
    for part in
        ["comment", "review", "release", "workflow_run", "workflow_job", "check_run", "check_suite", "deployment"]
    {
        if let Some(id) = field::scalar(payload, &[part, "id"]) {
            return Some(format!("{home}/{part}/{id}"));
        }
    }
    for part in ["pull_request", "issue", "discussion"] {
        if let Some(number) = field::scalar(payload, &[part, "number"]) {
            return Some(format!("{home}#{number}"));
        }
    }
    Some(match field::text(payload, &["ref"]) {
        Some(reference) => format!("{home}:{reference}"),
        None => home.to_owned(),
    })
}

/// GitHub has no uniform time. A push is timed by the repository, since its commits can be old.
fn occurred_at(payload: &Value) -> Option<Timestamp> {
    for part in [
        "comment",
        "review",
        "workflow_run",
        "workflow_job",
        "check_suite",
        "deployment_status",
        "deployment",
        "pull_request",
        "issue",
        "discussion",
    ] {
        let time =
            field::rfc3339(payload, &[part, "updated_at"]).or_else(|| field::rfc3339(payload, &[part, "submitted_at"]));
        if time.is_some() {
            return time;
        }
    }
    field::rfc3339(payload, &["release", "published_at"])
        .or_else(|| field::unix_seconds(payload, &["repository", "pushed_at"]))
        .or_else(|| field::rfc3339(payload, &["repository", "pushed_at"]).filter(|_| payload.get("ref").is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_is_the_narrowest_thing_named() {
        let repository = json!({"full_name": "o/r"});
        let cases = [
            (json!({"repository": repository, "issue": {"number": 5}, "comment": {"id": 7}}), "o/r/comment/7"),
            (json!({"repository": repository, "pull_request": {"number": 5}, "review": {"id": 8}}), "o/r/review/8"),
            (json!({"repository": repository, "issue": {"number": 5}}), "o/r#5"),
            (json!({"repository": repository, "ref": "refs/heads/main"}), "o/r:refs/heads/main"),
            (json!({"repository": repository}), "o/r"),
            (json!({"organization": {"login": "o"}}), "o"),
        ];
        for (payload, expected) in cases {
            assert_eq!(subject(&payload).as_deref(), Some(expected), "{payload}");
        }
        assert_eq!(subject(&json!({"zen": "…"})), None);
    }

    #[test]
    fn a_push_happens_when_it_is_pushed_not_when_it_was_committed() {
        let payload = json!({
            "ref": "refs/heads/main",
            "repository": {"pushed_at": 1_700_000_000},
            "head_commit": {"timestamp": "2020-01-01T00:00:00Z"},
        });
        assert_eq!(occurred_at(&payload), Some(Timestamp::from_secs(1_700_000_000)));
    }
}
