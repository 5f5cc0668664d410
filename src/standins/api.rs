//! A stand-in for any API: answers with what it was sent, holds resources, issues OAuth2 tokens.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::StatusCode;
use serde_json::{Value, json};
use url::Url;
use warp::reply::Response;

use super::{
    fault::Fault,
    server::{Running, Seen, Work, json as json_answer, serve},
};

/// The client that the token endpoint knows: id and secret.
const CLIENT: (&str, &str) = ("stand-in-client", "stand-in-client-secret");

#[derive(Default)]
struct Books {
    resources: HashMap<String, Value>,
    tokens_issued: u32,
    guarded: bool,
    revoked: u32,
}

#[derive(Default)]
struct State(Mutex<Books>);

/// An API that stops when dropped.
pub struct StandInApi {
    state: Arc<State>,
    running: Running,
}

impl StandInApi {
    /// Listens on a free loopback port.
    pub async fn start() -> io::Result<Self> {
        let state = Arc::new(State::default());
        let running = serve(Arc::clone(&state) as Arc<dyn Work>).await?;
        Ok(Self { state, running })
    }

    /// A URL of this API; `path` begins with `/`.
    pub fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.running.address).parse().expect("an address and a path make a URL")
    }

    /// Host and port, for URL templates.
    pub fn authority(&self) -> String {
        self.running.address.to_string()
    }

    /// The client id and secret for `/oauth/token`.
    pub const fn client() -> (&'static str, &'static str) {
        CLIENT
    }

    /// `GET path` answers with this.
    pub fn hold(&self, path: &str, resource: Value) {
        self.lock().resources.insert(path.to_owned(), resource);
    }

    /// From now on every path but `/oauth/token` wants a token of it that was not revoked.
    pub fn guard(&self) {
        self.lock().guarded = true;
    }

    /// Revokes every token issued so far.
    pub fn revoke(&self) {
        let mut books = self.lock();
        books.revoked = books.tokens_issued;
    }

    /// Tokens issued so far.
    pub fn tokens_issued(&self) -> u32 {
        self.lock().tokens_issued
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

    /// Every request, failed ones included.
    pub fn requests(&self) -> Vec<Seen> {
        self.running.seen()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Books> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work for State {
    fn answer(&self, seen: &Seen) -> Response {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.path == "/oauth/token" {
            return books.token(seen);
        }
        if books.guarded && !books.knows(seen.header("authorization")) {
            return json_answer(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_token" }));
        }
        match books.resources.get(&seen.path) {
            Some(resource) => json_answer(StatusCode::OK, resource),
            None => json_answer(StatusCode::OK, &echo(seen)),
        }
    }
}

impl Books {
    fn token(&mut self, seen: &Seen) -> Response {
        let client = format!("Basic {}", STANDARD.encode(format!("{}:{}", CLIENT.0, CLIENT.1)));
        let grant =
            url::form_urlencoded::parse(&seen.body).any(|(k, v)| k == "grant_type" && v == "client_credentials");
        if seen.header("authorization") != client || !grant {
            return json_answer(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_client" }));
        }
        self.tokens_issued += 1;
        let token = format!("stand-in-token-{}", self.tokens_issued);
        let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 });
        json_answer(StatusCode::OK, &answer)
    }

    fn knows(&self, authorization: &str) -> bool {
        let number = authorization.strip_prefix("Bearer stand-in-token-").and_then(|number| number.parse::<u32>().ok());
        number.is_some_and(|number| number > self.revoked && number <= self.tokens_issued)
    }
}

fn echo(seen: &Seen) -> Value {
    let body = serde_json::from_slice(&seen.body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&seen.body)));
    json!({ "method": seen.method.as_str(), "path": seen.path, "query": seen.query, "body": body })
}
