//! A stand-in for a WordPress site with the plugin: the callback contract of DESIGN §7 with its
//! inbox by `job_id` and its posts by `post_key`, and the doors beside it: states of jobs go in, what
//! editors ask for comes out.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    sync::{Arc, Mutex, PoisonError},
};

use http::StatusCode;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sluice_actors::{domain::Timestamp, ports::Clock};
use url::Url;
use warp::reply::Response;

use super::{
    fault::Fault,
    server::{Running, Seen, Work, json as json_answer, serve},
};

/// Seconds that clocks may differ.
const LEEWAY: i64 = 30;
/// The longest life of a token, in seconds.
const MAX_TTL: i64 = 300;

/// A post as the site holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Its id.
    pub id: u64,
    /// The callback's `post_key`.
    pub post_key: String,
    /// The callback's `type`.
    pub job_type: String,
    /// The title, as HTML.
    pub title: String,
    /// The text, as HTML.
    pub summary: String,
    /// When what it tells happened.
    pub occurred_at: Timestamp,
    /// The last job that wrote it.
    pub job_id: String,
    /// Whether an editor changed it; then it is not overwritten.
    pub edited: bool,
}

#[derive(Default)]
struct Site {
    keys: Option<JwkSet>,
    posts: Vec<Post>,
    inbox: HashMap<String, Option<u64>>,
    tokens: HashSet<String>,
    effects: BTreeMap<String, u32>,
    refusals: Vec<&'static str>,
    states: BTreeMap<String, String>,
    requests: BTreeMap<u64, Value>,
    answers: BTreeMap<u64, String>,
}

struct State {
    site_uuid: String,
    clock: Arc<dyn Clock>,
    site: Mutex<Site>,
}

/// A site that stops when dropped.
pub struct StandInWordPress {
    state: Arc<State>,
    running: Running,
}

impl StandInWordPress {
    /// Listens on a free loopback port; trusts the keys of `jwks` (a JWK set).
    pub async fn start(site_uuid: &str, jwks: &Value, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let state = Arc::new(State { site_uuid: site_uuid.to_owned(), clock, site: Mutex::default() });
        let running = serve(Arc::clone(&state) as Arc<dyn Work>).await?;
        let site = Self { state, running };
        site.trust(jwks);
        Ok(site)
    }

    /// The URL for `[wordpress] site`.
    pub fn site(&self) -> Url {
        format!("http://{}/", self.running.address).parse().expect("an address makes a URL")
    }

    /// Trusts exactly the keys of `jwks` from now on; a value that is no JWK set trusts none.
    pub fn trust(&self, jwks: &Value) {
        self.lock().keys = serde_json::from_value(jwks.clone()).ok();
    }

    /// The next request meets this.
    pub fn fail_next(&self, fault: Fault) {
        self.running.faults.push(fault);
    }

    /// Every request meets this until `None`.
    pub fn fail_always(&self, fault: Option<Fault>) {
        self.running.faults.always(fault);
    }

    /// This share of the requests meets the fault, by a seeded chance.
    pub fn fail_sometimes(&self, share: f64, seed: u64, fault: Fault) {
        self.running.faults.sometimes(share, seed, fault);
    }

    /// An editor changes the post: later callbacks only propose.
    pub fn edit(&self, post_id: u64) {
        if let Some(post) = self.lock().posts.iter_mut().find(|post| post.id == post_id) {
            post.edited = true;
        }
    }

    /// The posts.
    pub fn posts(&self) -> Vec<Post> {
        self.lock().posts.clone()
    }

    /// How often each job took effect; never above 1 if the contract holds.
    pub fn effects(&self) -> BTreeMap<String, u32> {
        self.lock().effects.clone()
    }

    /// Why tokens were refused, oldest first.
    pub fn refusals(&self) -> Vec<&'static str> {
        self.lock().refusals.clone()
    }

    /// The state of each job as the gateway last reported it.
    pub fn states(&self) -> BTreeMap<String, String> {
        self.lock().states.clone()
    }

    /// An editor asks the gateway for something (`retry`, `dismiss`, `self_test`); returns its number.
    pub fn ask(&self, kind: &str, job_id: &str) -> u64 {
        let mut site = self.lock();
        let id = (site.requests.len() + site.answers.len()) as u64 + 1;
        site.requests.insert(id, json!({ "id": id, "kind": kind, "job_id": job_id }));
        id
    }

    /// What became of requests.
    pub fn answers(&self) -> BTreeMap<u64, String> {
        self.lock().answers.clone()
    }

    /// Every callback, failed ones included.
    pub fn requests(&self) -> Vec<Seen> {
        self.running.seen()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Site> {
        self.state.site.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A callback's body; unknown fields are allowed, missing ones are not.
#[derive(Deserialize)]
struct Callback {
    schema_version: u32,
    job_id: String,
    event_id: String,
    source: String,
    tenant: String,
    #[serde(rename = "type")]
    job_type: String,
    state: String,
    post_key: String,
    fence: i64,
    occurred_at: Timestamp,
    title: String,
    summary: String,
    artifacts: Vec<Value>,
    trace_id: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Vec<String>,
    sub: String,
    scope: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    job_id: Option<String>,
    fence: Option<i64>,
    body_sha256: String,
}

/// What a gateway says of its jobs.
#[derive(Deserialize)]
struct Report {
    jobs: Vec<Reported>,
    answers: Vec<Answered>,
}

#[derive(Deserialize)]
struct Reported {
    job_id: String,
    state: String,
}

#[derive(Deserialize)]
struct Answered {
    id: u64,
    outcome: String,
}

impl Work for State {
    fn answer(&self, seen: &Seen) -> Response {
        let error = |status, code: &str| json_answer(status, &json!({ "code": code, "message": "refused" }));
        let plain = seen.path == "/" && seen.query == "rest_route=/sluice/v1/callbacks";
        if !(plain || seen.path == "/wp-json/sluice/v1/callbacks") {
            return error(StatusCode::NOT_FOUND, "rest_no_route");
        }
        let mut site = self.site.lock().unwrap_or_else(PoisonError::into_inner);
        let claims = match self.verify(&site, seen, "job:write") {
            Ok(claims) => claims,
            Err(reason) => {
                site.refusals.push(reason);
                return error(StatusCode::UNAUTHORIZED, reason);
            }
        };
        let Ok(callback) = serde_json::from_slice::<Callback>(&seen.body) else {
            return error(StatusCode::UNPROCESSABLE_ENTITY, "sluice_invalid");
        };
        if !fits(&claims, &callback) {
            site.refusals.push("sluice_token_other_job");
            return error(StatusCode::UNAUTHORIZED, "sluice_token_other_job");
        }
        if !site.tokens.insert(claims.jti) {
            site.refusals.push("sluice_token_replayed");
            return error(StatusCode::UNAUTHORIZED, "sluice_token_replayed");
        }
        let (status, outcome, post_id) = site.apply(&callback);
        let echo = json!({
            "ok": true,
            "job_id": callback.job_id,
            "fence": callback.fence,
            "outcome": outcome,
            "post_id": post_id,
        });
        json_answer(status, &echo)
    }

    fn aside(&self, seen: &Seen) -> Option<Response> {
        let door = seen.query.strip_prefix("rest_route=/sluice/v1/")?;
        let scope = match door {
            "status" => "status:write",
            "outbox/run" => "outbox:run",
            "self-test" => "self_test:write",
            _ => return None,
        };
        let mut site = self.site.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(reason) = self.verify(&site, seen, scope) {
            return Some(json_answer(StatusCode::UNAUTHORIZED, &json!({ "code": reason, "message": "refused" })));
        }
        match door {
            "status" => site.report(serde_json::from_slice(&seen.body).ok()?),
            "self-test" => {
                let body: Value = serde_json::from_slice(&seen.body).ok()?;
                let id = body.get("request_id")?.as_u64()?;
                site.requests.remove(&id);
                site.answers.insert(id, "done".to_owned());
            }
            _ => {}
        }
        let requests: Vec<&Value> = site.requests.values().collect();
        Some(json_answer(StatusCode::OK, &json!({ "ok": true, "requests": requests, "outbox_due": 0 })))
    }
}

/// Whether body and token speak of the same job, and the body is whole.
fn fits(claims: &Claims, callback: &Callback) -> bool {
    let said = [&callback.event_id, &callback.job_type, &callback.post_key, &callback.trace_id];
    claims.job_id.as_ref() == Some(&callback.job_id)
        && claims.fence == Some(callback.fence)
        && callback.tenant == claims.sub
        && callback.schema_version == 1
        && callback.source == "sluice"
        && callback.state == "succeeded"
        && callback.artifacts.iter().all(is_artifact)
        && said.iter().all(|text| !text.is_empty())
}

/// As the plugin takes it: a type, an https link, a time or none.
fn is_artifact(artifact: &Value) -> bool {
    let text = |name: &str| artifact.get(name).and_then(Value::as_str).unwrap_or_default();
    !text("type").is_empty()
        && text("url").starts_with("https://")
        && Timestamp::parse_rfc3339(text("expires_at")).is_ok()
}

impl State {
    fn verify(&self, site: &Site, seen: &Seen, scope: &str) -> Result<Claims, &'static str> {
        let header = match seen.header("x-sluice-authorization") {
            "" => seen.header("authorization"),
            own => own,
        };
        let token = header.strip_prefix("Bearer ").ok_or("sluice_token_missing")?;
        let head = jsonwebtoken::decode_header(token).map_err(|_| "sluice_token_malformed")?;
        if head.alg != Algorithm::EdDSA || head.typ.as_deref() != Some("sluice-callback+jwt") || head.crit.is_some() {
            return Err("sluice_token_malformed");
        }
        let kid = head.kid.ok_or("sluice_token_unknown_key")?;
        let key = site.keys.as_ref().and_then(|keys| keys.find(&kid)).ok_or("sluice_token_unknown_key")?;
        let key = DecodingKey::from_jwk(key).map_err(|_| "sluice_token_unknown_key")?;
        // Time and audience are checked below, on the site's own clock and exactly.
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims: Claims =
            jsonwebtoken::decode(token, &key, &validation).map_err(|_| "sluice_token_bad_signature")?.claims;
        let now = self.clock.now().as_secs();
        if claims.iss.is_empty() || claims.scope != scope {
            return Err("sluice_token_scope");
        }
        if claims.aud != ["wp".to_owned(), format!("wp:{}", self.site_uuid)] {
            return Err("sluice_token_wrong_audience");
        }
        let young = claims.iat <= now + LEEWAY && claims.nbf <= now + LEEWAY;
        if !young || claims.exp <= now - LEEWAY || claims.exp - claims.iat > MAX_TTL {
            return Err("sluice_token_expired");
        }
        if claims.body_sha256 != hex::encode(Sha256::digest(&seen.body)) {
            return Err("sluice_token_other_body");
        }
        Ok(claims)
    }
}

impl Site {
    fn report(&mut self, report: Report) {
        self.states.extend(report.jobs.into_iter().map(|job| (job.job_id, job.state)));
        for answer in report.answers {
            self.requests.remove(&answer.id);
            self.answers.insert(answer.id, answer.outcome);
        }
    }

    fn apply(&mut self, callback: &Callback) -> (StatusCode, &'static str, Option<u64>) {
        if let Some(done) = self.inbox.get(&callback.job_id) {
            return (StatusCode::OK, "duplicate", *done);
        }
        let next_id = self.posts.len() as u64 + 1;
        let (status, outcome, post_id) = match self.posts.iter_mut().find(|post| post.post_key == callback.post_key) {
            Some(post) if callback.occurred_at < post.occurred_at => (StatusCode::OK, "stale", post.id),
            Some(post) if post.edited => (StatusCode::OK, "proposed", post.id),
            Some(post) => {
                *post = callback.post(post.id);
                (StatusCode::OK, "applied", post.id)
            }
            None => {
                self.posts.push(callback.post(next_id));
                (StatusCode::CREATED, "created", next_id)
            }
        };
        *self.effects.entry(callback.job_id.clone()).or_default() += 1;
        self.inbox.insert(callback.job_id.clone(), Some(post_id));
        (status, outcome, Some(post_id))
    }
}

impl Callback {
    fn post(&self, id: u64) -> Post {
        Post {
            id,
            post_key: self.post_key.clone(),
            job_type: self.job_type.clone(),
            title: self.title.clone(),
            summary: self.summary.clone(),
            occurred_at: self.occurred_at,
            job_id: self.job_id.clone(),
            edited: false,
        }
    }
}
