//! Talks to a running gateway through its API.

use std::{io::ErrorKind, time::Duration};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use super::Global;
use crate::{
    app::{Refused, runtime::Runtime},
    config::Input,
    error_code::ErrorCode,
    http_client::{Answer, Call, CallError, HttpClient, Take},
};

/// Which gateway to talk to.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which gateway")]
pub(super) struct Api {
    /// The API of a gateway elsewhere; without it, the one that runs with this configuration
    #[arg(long, value_name = "URL", env = "SLUICE_API", requires = "token")]
    api: Option<Url>,
    /// The token for --api
    #[arg(long, value_name = "TOKEN", env = "SLUICE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// A long answer (a replay over many events) may take this long.
const PATIENCE: Duration = Duration::from_secs(300);
/// An export may be long.
const LONG_PATIENCE: Duration = Duration::from_hours(1);
/// Health is told at once or not at all.
const HEALTH_PATIENCE: Duration = Duration::from_secs(5);

/// A gateway that runs.
pub(super) struct Client {
    http: HttpClient,
    base: Url,
    authorization: HeaderValue,
    /// The origin of its public listener, where it runs on this machine.
    pub(super) public: Option<String>,
}

/// The API's answer other than success.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Client {
    /// The gateway that `api` names, or the one that runs with the configuration.
    pub(super) fn connect(api: &Api, global: &Global) -> anyhow::Result<Self> {
        match (&api.api, &api.token) {
            // At any address; the client itself refuses http off loopback.
            (Some(base), Some(token)) => Self::new(HttpClient::for_operators(None)?, base.clone(), token, None),
            (Some(_), None) => bail!("--api needs --token (or SLUICE_TOKEN)"),
            (None, _) => {
                let folder = Input::read(&global.config)?.data_dir()?;
                let runtime = Runtime::read(&folder).map_err(|error| {
                    let (config, folder) = (global.config.display(), folder.display());
                    let message = match error.kind() {
                        ErrorKind::NotFound => format!(
                            "no gateway runs with {config} (no runtime.json in {folder}); start it with `sluice serve`, or name one with --api and --token"
                        ),
                        _ => format!(
                            "cannot read runtime.json in {folder} ({error}); run this as the user that runs the gateway, or name it with --api and --token"
                        ),
                    };
                    Refused::new(ErrorCode::NotRunning, message)
                })?;
                let base = runtime.admin.parse().context("runtime.json names no URL")?;
                // The process itself says which certificate it shows, in a file for its user only: neither its name nor
                // its authority matters here.
                let http =
                    runtime.admin_certificate.map_or_else(|| HttpClient::for_operators(None), HttpClient::pinned)?;
                Self::new(http, base, &runtime.token, Some(runtime.public))
            }
        }
    }

    fn new(http: HttpClient, base: Url, token: &str, public: Option<String>) -> anyhow::Result<Self> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {token}")).context("the token is not one")?;
        authorization.set_sensitive(true);
        Ok(Self { http, base, authorization, public })
    }

    /// GET `path` with a query of the fields of `filter` that are set.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, filter: &impl Serialize) -> anyhow::Result<T> {
        let mut url = self.url(path)?;
        if let Value::Object(fields) = serde_json::to_value(filter)? {
            let mut query = url.query_pairs_mut();
            for (key, value) in fields {
                match value {
                    Value::Null => {}
                    Value::String(text) => drop(query.append_pair(&key, &text)),
                    other => drop(query.append_pair(&key, &other.to_string())),
                }
            }
        }
        if url.query() == Some("") {
            url.set_query(None);
        }
        self.call(Call::new(Method::GET, url)).await
    }

    /// POST `body` to `path`.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        self.change(Method::POST, path, body).await
    }

    /// POST `body` to `path`; the answer is handed to `take` as it comes, until that says `false`.
    pub(super) async fn download(&self, path: &str, body: &impl Serialize, take: Take<'_>) -> anyhow::Result<()> {
        let mut call = self.posting(Method::POST, path, body)?;
        call.timeout = LONG_PATIENCE;
        call.headers.insert(header::AUTHORIZATION, self.authorization.clone());
        let answer = self.http.download(call, take).await.map_err(|error| self.unreachable(&error))?;
        if answer.status.is_success() { Ok(()) } else { Err(self.refused(&answer)) }
    }

    async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.call(self.posting(method, path, body)?).await
    }

    fn posting(&self, method: Method, path: &str, body: &impl Serialize) -> anyhow::Result<Call> {
        let mut call = Call::new(method, self.url(path)?);
        call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        call.body = Some(Bytes::from(serde_json::to_vec(body)?));
        Ok(call)
    }

    /// DELETE of `path`, with `body`.
    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        self.change(Method::DELETE, path, body).await
    }

    /// `/healthz` or `/readyz`; also an answer that says no is one.
    pub(super) async fn health<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let base = self.base.as_str().trim_end_matches('/');
        let mut call = Call::new(Method::GET, format!("{base}/{path}").parse().context("not a URL")?);
        call.timeout = HEALTH_PATIENCE;
        let answer = self.send(call).await?;
        serde_json::from_slice(answer.whole()?).with_context(|| {
            format!("{} answered {} to /{path}; is it a Sluice admin listener?", self.base, answer.status)
        })
    }

    fn url(&self, path: &str) -> anyhow::Result<Url> {
        let base = self.base.as_str().trim_end_matches('/');
        format!("{base}/api/v1/{path}").parse().context("not a URL")
    }

    async fn send(&self, mut call: Call) -> anyhow::Result<Answer> {
        call.headers.insert(header::AUTHORIZATION, self.authorization.clone());
        self.http.send(call).await.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &CallError) -> anyhow::Error {
        let CallError::Connect(_) = error else { return anyhow!("{}: {error}", self.base) };
        let message = format!(
            "no gateway answers at {} ({error}); start it with `sluice serve`, or name one with --api and --token",
            self.base
        );
        Refused::new(ErrorCode::NotRunning, message).into()
    }

    fn refused(&self, answer: &Answer) -> anyhow::Error {
        match answer.status {
            StatusCode::UNAUTHORIZED => anyhow!("the gateway at {} does not accept the token", self.base),
            status => match serde_json::from_slice::<Refusal>(answer.partial()) {
                Ok(refusal) => anyhow!("{}", refusal.message),
                Err(_) => anyhow!("{} answered {status}; is it a Sluice admin listener?", self.base),
            },
        }
    }

    async fn call<T: DeserializeOwned>(&self, mut call: Call) -> anyhow::Result<T> {
        call.timeout = PATIENCE;
        let answer = self.send(call).await?;
        let body = answer.whole().context("the answer is too long; narrow the filter")?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        serde_json::from_slice(body).context("the gateway's answer is not understood; is it another version?")
    }
}

/// Why, for the audit.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub(super) struct Reason {
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}
