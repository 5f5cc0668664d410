//! The callback to a WordPress site (DESIGN §7), used by every action that publishes.
//!
//! A callback is delivered only when the plugin's answer echoes this attempt's job and fence: pages
//! of firewalls and caches answer 200 too. Sending one again has no second effect, since the plugin
//! keeps an inbox by `job_id`; so a timeout is retried with the same bytes and a fresh token.

use http::{HeaderMap, HeaderValue, Method, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sluice_actors::domain::{CalleeId, EventEnvelope, Job, Timestamp};
use url::Url;

use super::{
    artifacts::Shared,
    callees,
    classify::{self, Body, Fate, Judged},
    hostile,
    run::{Run, Step, invalid, not_configured},
    template::{self, Target},
    token::{self, Claims, SigningKey, Vouched},
};
use crate::{
    config::{PublishMode, WordPress},
    http_client::{Answer, Call, CallError},
    ids,
    json::parse_strict,
};

/// The header that carries the token where a server or plugin eats `Authorization`.
pub const TOKEN_HEADER: &str = "x-sluice-authorization";

/// What is published: plain, cleaned text.
pub(crate) struct Post<'a> {
    pub(crate) job_type: &'a str,
    pub(crate) title: &'a str,
    pub(crate) summary: &'a str,
    pub(crate) place: Place,
    /// Links of this attempt.
    pub(crate) artifacts: Vec<Shared>,
}

/// Where on the site it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// As the plugin's settings of the job type say.
    BySettings,
    /// Beside this post, or the one of the plugin's settings.
    Beside(Option<u64>),
}

impl Place {
    /// The place that a route names. An event can choose a post by its id, and nothing else.
    pub(crate) fn of(run: &Run<'_>, mode: &PublishMode) -> Step<Self> {
        match mode {
            PublishMode::BySettings => Ok(Self::BySettings),
            PublishMode::Meta { target_post_id: None } => Ok(Self::Beside(None)),
            PublishMode::Meta { target_post_id: Some(template) } => {
                // Of the event alone: what `fetch` loaded is gone once a summary was checkpointed.
                let context = template::context(run.event(), run.job(), None);
                let rendered = template::render(Target::Text, template, &context)
                    .map_err(|reason| invalid(format!("target_post_id: {reason}")))?;
                let id = post_id(&rendered).ok_or_else(|| invalid("target_post_id: is not the id of a post"))?;
                Ok(Self::Beside(Some(id)))
            }
        }
    }
}

/// A post's id as the template rendered it: digits, none of them for show, at least 1 and within what JSON
/// readers keep exact.
fn post_id(text: &str) -> Option<u64> {
    const LARGEST: u64 = (1 << 53) - 1;
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|id| plain && *id <= LARGEST)
}

/// What the plugin did with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) outcome: String,
    pub(crate) post_id: Option<u64>,
}

/// Sends the callback of this attempt.
pub(crate) async fn publish(run: &Run<'_>, site: &WordPress, post: &Post<'_>) -> Step<Published> {
    let broken = |what: &str| not_configured(format!("[wordpress] of tenant {} ({what})", run.tenant.name));
    let key = token::signing_key(site, run.now()).map_err(broken)?;
    let gateway = token::gateway_id(run.config);
    let callback = Callback { gateway: &gateway, site, key: &key, job: run.job(), event: run.event(), post };
    let call = callback.sign(run.now(), ids::nonce()).map_err(broken)?;
    let callee = callees::wordpress(site);
    run.call(&callee, call, |answer, now| judge(answer, now, &callee, run.job())).await
}

/// One callback before it is signed.
pub(crate) struct Callback<'a> {
    pub(crate) gateway: &'a str,
    pub(crate) site: &'a WordPress,
    pub(crate) key: &'a SigningKey,
    pub(crate) job: &'a Job,
    pub(crate) event: &'a EventEnvelope,
    pub(crate) post: &'a Post<'a>,
}

/// The callback's body, in the order of its fields on the wire.
#[derive(Debug, Serialize)]
struct Message<'a> {
    schema_version: u32,
    job_id: String,
    event_id: String,
    source: &'static str,
    tenant: &'a str,
    #[serde(rename = "type")]
    job_type: &'a str,
    state: &'static str,
    post_key: String,
    fence: i64,
    occurred_at: Timestamp,
    title: String,
    summary: String,
    artifacts: &'a [Shared],
    trace_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_post_id: Option<u64>,
}

impl Callback<'_> {
    /// The exact request: body, token over its digest, headers.
    pub(crate) fn sign(&self, now: Timestamp, jti: [u8; 16]) -> Result<Call, &'static str> {
        let (mode, target_post_id) = match self.post.place {
            Place::BySettings => (None, None),
            Place::Beside(id) => (Some("meta"), id),
        };
        let message = Message {
            schema_version: 1,
            job_id: self.job.id.to_string(),
            event_id: self.event.id.to_string(),
            source: "sluice",
            tenant: self.job.lane.tenant.as_str(),
            job_type: self.post.job_type,
            state: "succeeded",
            post_key: post_key(self.job, self.event),
            fence: self.job.fence.0,
            occurred_at: self.event.occurred_at,
            title: hostile::escape(self.post.title),
            summary: hostile::escape(self.post.summary),
            artifacts: &self.post.artifacts,
            trace_id: self.event.trace_id.to_string(),
            mode,
            target_post_id,
        };
        let body = serde_json::to_vec(&message).expect("a callback has only string keys");
        let vouched = Vouched {
            gateway: self.gateway,
            site_uuid: &self.site.site_uuid,
            tenant: self.job.lane.tenant.as_str(),
            scope: "job:write",
            attempt: Some((self.job.id.to_string(), self.job.fence.0)),
            body: &body,
        };
        let token = self.key.sign(&Claims::new(&vouched, now, jti));
        let mut call = Call::new(Method::POST, endpoint(self.site)?);
        call.headers = headers(&token, self.site.authorization_header);
        call.body = Some(body.into());
        Ok(call)
    }
}

/// The site's callback URL: joined as text, because the default is a query under the site's path.
pub(crate) fn endpoint(site: &WordPress) -> Result<Url, &'static str> {
    format!("{}{}", site.site.as_str().trim_end_matches('/'), site.callback)
        .parse()
        .map_err(|_| "site and callback make no URL")
}

pub(crate) fn headers(token: &str, authorization: bool) -> HeaderMap {
    let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).expect("a token is base64url and dots");
    bearer.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(TOKEN_HEADER, bearer.clone());
    if authorization {
        headers.insert(header::AUTHORIZATION, bearer);
    }
    headers
}

/// One post per subject and route; where the vendor names no subject, one per job.
pub(crate) fn post_key(job: &Job, event: &EventEnvelope) -> String {
    let (kind, about) =
        event.subject_id.as_ref().map_or_else(|| ("job", job.id.to_string()), |subject| ("subject", subject.clone()));
    let parts = [job.lane.tenant.as_str(), job.lane.source.as_str(), job.route.as_str(), kind, &about];
    let text = serde_json::to_vec(&parts).expect("strings are JSON");
    hex::encode(Sha256::digest(text))
}

/// The plugin's answer.
#[derive(Debug, Deserialize)]
struct Echo {
    job_id: String,
    fence: i64,
    outcome: String,
    post_id: Option<u64>,
}

pub(crate) fn judge(
    answer: Result<Answer, CallError>,
    now: Timestamp,
    callee: &CalleeId,
    job: &Job,
) -> Judged<Published> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Judged::error(&error, callee),
    };
    let parsed = answer.whole().ok().and_then(|body| parse_strict(body).ok());
    let code = parsed.as_ref().and_then(|body| body.get("code")).and_then(Value::as_str).map(str::to_owned);
    let echo = parsed.as_ref().and_then(|body| Echo::deserialize(body).ok());
    let echo = echo.filter(|echo| echo.job_id == job.id.to_string() && echo.fence == job.fence.0);
    let body = match (&parsed, &echo, code.as_deref()) {
        (_, Some(echo), _) if echo.outcome != "pending" => Body::Echo,
        (_, _, Some("rest_no_route")) => Body::NoRoute,
        (Some(_), ..) => Body::OtherJson,
        (None, ..) => Body::NotJson,
    };
    let (fate, health) = classify::of_wordpress(answer.status, body);
    match (fate, echo) {
        (Fate::Done, Some(echo)) => Judged::done(Published { outcome: known(&echo.outcome), post_id: echo.post_id }),
        (fate, _) => {
            let what = match body {
                Body::Echo => format!("answered {} for this job", answer.status),
                Body::NoRoute => format!("answered {}: the plugin's route is not there", answer.status),
                Body::OtherJson => format!("answered {} without echoing job and fence", answer.status),
                Body::NotJson => format!("answered {} with something that is not JSON", answer.status),
            };
            Judged::ends(fate, health, callee, &what, answer.retry_after(now))
        }
    }
}

/// The plugin's word, or `unknown`: foreign text is not stored.
fn known(outcome: &str) -> String {
    let words = ["created", "applied", "duplicate", "stale", "proposed"];
    words.into_iter().find(|word| *word == outcome).unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};
    use crate::{config::SigningKeys, secrets::Secret};

    const KEY: &str = include_str!("../../tests/fixtures/wordpress/signing-key.pem");
    const GOLDEN: &str = include_str!("../../tests/fixtures/wordpress/golden.json");
    /// 2026-11-24T08:00:05Z.
    const NOW: Timestamp = Timestamp::from_secs(1_795_507_205);

    fn site(authorization_header: bool) -> WordPress {
        WordPress {
            site: "https://blog.acme.example/".parse().unwrap(),
            callback: "/?rest_route=/sluice/v1/callbacks".into(),
            site_uuid: "7f8f0a2e-3c1b-4d5e-9f60-718293a4b5c6".into(),
            signing: SigningKeys::only(Secret::new(KEY.into())),
            authorization_header,
            site_token: None,
        }
    }

    fn signed(site: &WordPress) -> Call {
        placed(site, Place::BySettings)
    }

    fn placed(site: &WordPress, place: Place) -> Call {
        let key = token::signing_key(site, NOW).unwrap();
        let (job, event) = (testing::job(), testing::event());
        let post = Post {
            job_type: "summarize_and_publish",
            title: "Invoice in_4711 paid: 12,00 € <b>&</b> [gallery]",
            summary: "Größe \"quoted\".\n\nSecond paragraph, C:\\new 日本語.",
            place,
            artifacts: Vec::new(),
        };
        let gateway = "https://hooks.example.com";
        let callback = Callback { gateway, site, key: &key, job: &job, event: &event, post: &post };
        callback.sign(NOW, *b"0123456789abcdef").unwrap()
    }

    /// The request as the fixture holds it. The plugin's tests read the same file.
    fn as_fixture(call: &Call) -> Value {
        let site = site(true);
        let header = |name: &str| call.headers[name].to_str().unwrap();
        serde_json::json!({
            "comment": "One golden callback: made by the gateway's signer, verified by the plugin's verifier. The key is a test key.",
            "now": "2026-11-24T08:00:05Z",
            "site_uuid": site.site_uuid,
            "jwk": token::signing_key(&site, NOW).unwrap().jwk(),
            "method": call.method.as_str(),
            "url": call.url.as_str(),
            "headers": {
                "content-type": header("content-type"),
                "x-sluice-authorization": header(TOKEN_HEADER),
                "authorization": header("authorization"),
            },
            "body": std::str::from_utf8(call.body.as_ref().unwrap()).unwrap(),
        })
    }

    #[test]
    fn the_golden_request_is_made_byte_for_byte() {
        let golden: Value = serde_json::from_str(GOLDEN).unwrap();
        let made = as_fixture(&signed(&site(true)));
        assert_eq!(made, golden, "{made:#}");
    }

    #[test]
    fn the_tokens_claims_are_exactly_those_of_the_contract() {
        let call = signed(&site(true));
        let token = call.headers[TOKEN_HEADER].to_str().unwrap().strip_prefix("Bearer ").unwrap();
        let parts: Vec<Value> = token
            .split('.')
            .take(2)
            .map(|part| {
                let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, part).unwrap();
                serde_json::from_slice(&bytes).unwrap()
            })
            .collect();
        let key = SigningKey::parse(&Secret::new(KEY.into())).unwrap();
        assert_eq!(parts[0], serde_json::json!({ "typ": "sluice-callback+jwt", "alg": "EdDSA", "kid": key.kid() }));
        assert_eq!(
            parts[1],
            serde_json::json!({
                "iss": "https://hooks.example.com",
                "aud": ["wp", "wp:7f8f0a2e-3c1b-4d5e-9f60-718293a4b5c6"],
                "sub": "acme",
                "scope": "job:write",
                "iat": 1_795_507_205,
                "nbf": 1_795_507_205,
                "exp": 1_795_507_265,
                "jti": hex::encode(b"0123456789abcdef"),
                "job_id": testing::job().id,
                "fence": 42,
                "body_sha256": hex::encode(Sha256::digest(call.body.as_ref().unwrap())),
            })
        );
    }

    #[test]
    fn mode_meta_is_told_in_the_signed_body_and_nothing_else_changes() {
        let body = |place| -> Value { serde_json::from_slice(&placed(&site(true), place).body.unwrap()).unwrap() };
        let plain = body(Place::BySettings);
        assert_eq!((plain.get("mode"), plain.get("target_post_id")), (None, None));
        for (place, target) in [(Place::Beside(Some(4711)), Some(4711)), (Place::Beside(None), None)] {
            let mut beside = body(place);
            assert_eq!(beside.as_object_mut().unwrap().remove("mode"), Some("meta".into()));
            assert_eq!(beside.as_object_mut().unwrap().remove("target_post_id"), target.map(Into::into));
            assert_eq!(beside, plain);
        }
    }

    #[test]
    fn an_event_can_name_a_post_only_by_a_plain_id() {
        assert_eq!((post_id("1"), post_id("9007199254740991")), (Some(1), Some(9_007_199_254_740_991)));
        for text in ["", "0", "01", "+1", "-1", " 1", "1 ", "1.0", "1e3", "٣", "9007199254740992", "1,2", "null"] {
            assert_eq!(post_id(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_second_header_can_be_switched_off() {
        assert!(!signed(&site(false)).headers.contains_key(header::AUTHORIZATION));
        assert!(signed(&site(false)).headers.contains_key(TOKEN_HEADER));
    }

    #[test]
    fn the_token_does_not_show_in_debug_output() {
        let shown = format!("{:?}", signed(&site(true)));
        assert!(!shown.contains("eyJ"), "{shown}");
    }

    #[test]
    fn a_site_in_a_folder_and_a_pretty_callback_are_joined() {
        let mut site = site(true);
        site.site = "https://acme.example/blog/".parse().unwrap();
        assert_eq!(endpoint(&site).unwrap().as_str(), "https://acme.example/blog/?rest_route=/sluice/v1/callbacks");
        site.callback = "/wp-json/sluice/v1/callbacks".into();
        assert_eq!(endpoint(&site).unwrap().as_str(), "https://acme.example/blog/wp-json/sluice/v1/callbacks");
    }

    #[test]
    fn a_post_is_one_per_subject_and_route_and_one_per_job_without_a_subject() {
        let (job, event) = (testing::job(), testing::event());
        let key = post_key(&job, &event);
        let mut other = job.clone();
        other.id = "job_0193a7d4c1e87cc0a3f0c5d6e7f80999".parse().unwrap();
        assert_eq!(post_key(&other, &event), key, "another job of the same subject");
        let mut without = event.clone();
        without.subject_id = None;
        assert_ne!(post_key(&job, &without), post_key(&other, &without), "no subject");
        let mut route = job.clone();
        route.route = "other".parse().unwrap();
        assert_ne!(post_key(&route, &event), key, "another route");
        let mut shifted = event.clone();
        shifted.subject_id = Some(job.id.to_string());
        assert_ne!(post_key(&job, &shifted), post_key(&job, &without), "a subject that looks like a job");
    }
}
