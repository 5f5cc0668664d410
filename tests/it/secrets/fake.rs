//! A FAKE Vault: answers as Vault's HTTP API is documented (KV version 2, `AppRole`, Kubernetes,
//! `renew-self`). No real Vault can be had from the registries.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use serde_json::{Value, json};
use sluice::clock::SystemClock;
use sluice_actors::ports::Clock as _;
use tokio::sync::watch;
use warp::{
    Filter as _,
    http::{HeaderMap, Method, Response},
};

/// One version of a secret.
struct Version {
    /// None: deleted.
    data: Option<Value>,
    created: String,
}

/// What it holds and what it was asked.
#[derive(Default)]
pub(crate) struct State {
    secrets: BTreeMap<String, Vec<Version>>,
    /// Tokens that are good.
    pub(crate) tokens: Vec<String>,
    /// Logins so far.
    pub(crate) logins: usize,
    /// Renewals so far.
    pub(crate) renewals: usize,
    /// Reads so far.
    pub(crate) reads: usize,
    /// Questions so far, whether or not it answers.
    pub(crate) asked: usize,
    /// The namespaces that it was asked in.
    pub(crate) namespaces: Vec<String>,
    /// It answers all with this.
    pub(crate) outage: Option<u16>,
    /// What a token is good for, in seconds.
    pub(crate) lease: u64,
    /// Whose token may write; none: every good one.
    pub(crate) writer: Option<String>,
    /// A version that somebody else writes just before the next write.
    pub(crate) meanwhile: Option<(String, Value)>,
}

pub(crate) const ROLE_ID: &str = "3c1b4d5e-role";
pub(crate) const SECRET_ID: &str = "canaryhunter41-secret-id";
pub(crate) const JWT: &str = "canaryhunter42.jwt.sig";
pub(crate) const TOKEN: &str = "hvs.canaryhunter43";

/// A running fake.
#[derive(Clone)]
pub(crate) struct FakeVault {
    state: Arc<Mutex<State>>,
    /// Whether it answers; until then whoever asks waits.
    answers: watch::Sender<bool>,
    /// Its address.
    pub(crate) address: String,
}

impl FakeVault {
    /// Starts one on a free port; it ends with the test's runtime.
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Mutex::new(State { tokens: vec![TOKEN.to_owned()], lease: 3600, ..State::default() }));
        let answers = watch::Sender::new(true);
        let (shared, answering) = (state.clone(), answers.clone());
        let query = warp::query::raw().or(warp::any().map(String::new)).unify();
        let routes = warp::method()
            .and(warp::path::full())
            .and(query)
            .and(warp::header::headers_cloned())
            .and(warp::body::bytes())
            .then(move |method: Method, path: warp::path::FullPath, query: String, headers: HeaderMap, body: Bytes| {
                shared.lock().unwrap().asked += 1;
                let (shared, mut answering) = (shared.clone(), answering.subscribe());
                async move {
                    // `Err`: nobody is there any more who could let it answer.
                    let _ = answering.wait_for(|answers| *answers).await;
                    shared.lock().unwrap().answer(&method, path.as_str(), &query, &headers, &body)
                }
            });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(warp::serve(routes).incoming(listener).run());
        Self { state, answers, address }
    }

    /// Takes questions from now on and answers none.
    pub(super) fn hang(&self) {
        self.answers.send_replace(false);
    }

    /// Answers, also what it was asked meanwhile.
    pub(super) fn answer(&self) {
        self.answers.send_replace(true);
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Writes a new version at `secret/data/{name}`.
    pub(crate) fn put(&self, name: &str, data: Value) {
        let version = Version { data: Some(data), created: SystemClock.now().to_string() };
        self.state().secrets.entry(format!("secret/data/{name}")).or_default().push(version);
    }

    /// All versions at `secret/data/{name}`.
    pub(super) fn versions(&self, name: &str) -> Vec<Value> {
        let state = self.state();
        state.secrets[&format!("secret/data/{name}")].iter().map(|version| version.data.clone().unwrap()).collect()
    }

    /// Deletes a version, counted from 1.
    pub(crate) fn delete(&self, name: &str, version: usize) {
        self.state().secrets.get_mut(&format!("secret/data/{name}")).unwrap()[version - 1].data = None;
    }

    /// The `[secrets]` of a gateway that asks it with `login`.
    pub(crate) fn section(&self, more: &str, login: &str) -> String {
        format!("[secrets]\n{more}\n[secrets.vault]\naddress = \"{}\"\n{login}\n", self.address)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a service answers with")]
fn reply(status: u16, body: &Value) -> Result<Response<String>, Infallible> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(body.to_string()).unwrap())
}

fn errors(status: u16, texts: &[&str]) -> Result<Response<String>, Infallible> {
    reply(status, &json!({ "errors": texts }))
}

impl State {
    fn answer(
        &mut self,
        method: &Method,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Response<String>, Infallible> {
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        self.namespaces.extend(header("x-vault-namespace"));
        if let Some(status) = self.outage {
            return errors(status, &["Vault is sealed"]);
        }
        assert_eq!(header("x-vault-request").as_deref(), Some("true"));
        let path = path.strip_prefix("/v1/").expect("an API path");
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        match (method.as_str(), path) {
            ("POST", "auth/approle/login") if body == json!({ "role_id": ROLE_ID, "secret_id": SECRET_ID }) => {
                self.log_in()
            }
            ("POST", "auth/approle/login") => errors(400, &["invalid role or secret ID"]),
            ("POST", "auth/k8s/prod/login") if body == json!({ "role": "sluice", "jwt": JWT }) => self.log_in(),
            ("POST", "auth/k8s/prod/login") => errors(403, &["permission denied"]),
            _ if !header("x-vault-token").is_some_and(|token| self.tokens.contains(&token)) => {
                errors(403, &["permission denied"])
            }
            ("POST", "auth/token/renew-self") => {
                self.renewals += 1;
                let token = header("x-vault-token").unwrap();
                self.authenticated(&token)
            }
            ("GET", "auth/token/lookup-self") => reply(200, &json!({ "request_id": "c", "data": {} })),
            ("GET", path) => self.read(path, query),
            ("POST", path) => self.write(path, &body, header("x-vault-token").as_deref()),
            _ => errors(405, &["unsupported operation"]),
        }
    }

    /// A new version of a secret that is there, over the version that is named.
    fn write(&mut self, path: &str, body: &Value, token: Option<&str>) -> Result<Response<String>, Infallible> {
        if self.writer.is_some() && self.writer.as_deref() != token {
            return errors(403, &["1 error occurred:\n\t* permission denied\n\n"]);
        }
        if let Some((name, data)) = self.meanwhile.take() {
            let version = Version { data: Some(data), created: SystemClock.now().to_string() };
            self.secrets.get_mut(&name).unwrap().push(version);
        }
        let versions = self.secrets.get_mut(path).expect("only what is there is rotated");
        if body["options"]["cas"] != versions.len() {
            return errors(400, &["check-and-set parameter did not match the current version"]);
        }
        let created = SystemClock.now().to_string();
        versions.push(Version { data: Some(body["data"].clone()), created: created.clone() });
        let data = json!({ "created_time": created, "custom_metadata": null, "deletion_time": "", "destroyed": false,
            "version": versions.len() });
        reply(200, &json!({ "request_id": "d", "data": data, "warnings": null, "auth": null }))
    }

    fn log_in(&mut self) -> Result<Response<String>, Infallible> {
        self.logins += 1;
        let token = format!("hvs.canaryhunter44-{}", self.logins);
        self.tokens.push(token.clone());
        self.authenticated(&token)
    }

    fn authenticated(&self, token: &str) -> Result<Response<String>, Infallible> {
        reply(
            200,
            &json!({
                "request_id": "a", "lease_id": "", "renewable": false, "lease_duration": 0, "data": null,
                "warnings": null, "wrap_info": null,
                "auth": {
                    "client_token": token, "accessor": "b", "policies": ["default"], "token_policies": ["default"],
                    "metadata": null, "lease_duration": self.lease, "renewable": true,
                },
            }),
        )
    }

    fn read(&mut self, path: &str, query: &str) -> Result<Response<String>, Infallible> {
        self.reads += 1;
        if path == "secret/data/forbidden" {
            return errors(403, &["1 error occurred:\n\t* permission denied\n\n"]);
        }
        let Some(versions) = self.secrets.get(path) else { return errors(404, &[]) };
        let number = match query.strip_prefix("version=") {
            Some(version) => version.parse().unwrap(),
            None => versions.len(),
        };
        let Some(version) = number.checked_sub(1).and_then(|at| versions.get(at)) else { return errors(404, &[]) };
        let deletion_time = if version.data.is_some() { "" } else { "2026-03-22T02:24:06.945319214Z" };
        let answer = json!({
            "request_id": "c", "lease_id": "", "renewable": false, "lease_duration": 0, "wrap_info": null,
            "warnings": null, "auth": null,
            "data": {
                "data": version.data,
                "metadata": {
                    "created_time": version.created, "custom_metadata": null, "deletion_time": deletion_time,
                    "destroyed": false, "version": number,
                },
            },
        });
        reply(if version.data.is_some() { 200 } else { 404 }, &answer)
    }
}
