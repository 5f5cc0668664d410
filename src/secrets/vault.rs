//! `vault:`: `HashiCorp` Vault and `OpenBao`, the KV engine of version 2, by their HTTP API.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use sluice_actors::domain::Timestamp;
use tokio::{sync::Mutex, time::Instant};
use url::Url;
use zeroize::Zeroizing;

use super::{
    Secret, file,
    reference::{Location, Version},
    remote::{Change, Document, Provider, RemoteError},
};
use crate::http_client::{Answer, Call, CallError, HttpClient};

/// `[secrets.vault]`.
#[derive(Debug, Clone)]
pub struct VaultSettings {
    /// Where it is, without a trailing slash.
    pub address: Url,
    /// Its namespace (Vault Enterprise, `OpenBao`).
    pub namespace: Option<String>,
    /// The certificates that sign its own, in PEM; none: those that the machine trusts.
    pub ca: Option<Secret>,
    /// How the gateway logs in.
    pub login: Login,
}

/// How the gateway logs in to Vault.
#[derive(Debug, Clone)]
pub enum Login {
    /// A token that somebody else renews, such as Vault Agent.
    Token(Secret),
    /// The `AppRole` method.
    AppRole {
        /// Where it is mounted.
        mount: String,
        /// The role.
        role_id: String,
        /// Its secret.
        secret_id: Secret,
    },
    /// The Kubernetes method.
    Kubernetes {
        /// Where it is mounted.
        mount: String,
        /// The role.
        role: String,
        /// The service account's token, read at each login: it is rotated.
        token_file: PathBuf,
    },
}

/// The token of the last login, kept from one refresh to the next.
#[derive(Debug, Default)]
pub struct Session(Mutex<Option<Held>>);

#[derive(Debug)]
struct Held {
    /// What it was got with.
    settings: [u8; 32],
    token: Secret,
    /// When it is half as old as it may become; none: it does not end.
    renew_at: Option<Instant>,
    ends_at: Option<Instant>,
    renewable: bool,
}

/// A Vault that can be asked.
pub(super) struct Vault {
    settings: VaultSettings,
    client: HttpClient,
    session: Arc<Session>,
}

/// The answer to a login or renewal.
#[derive(Deserialize)]
struct Authenticated {
    auth: Option<Auth>,
}

#[derive(Deserialize)]
struct Auth {
    client_token: Zeroizing<String>,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

/// The answer to a read, with the fields as they were written.
#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    data: Option<ReadData<'a>>,
}

#[derive(Deserialize)]
struct ReadData<'a> {
    /// None where the version was deleted.
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    created_time: String,
    version: u32,
}

impl Vault {
    pub(super) fn new(settings: VaultSettings, session: Arc<Session>) -> Result<Self, RemoteError> {
        let ca = settings.ca.as_ref().map(Secret::expose);
        let client = HttpClient::for_operators(ca).map_err(|error| RemoteError::Unavailable(error.to_string()))?;
        Ok(Self { settings, client, session })
    }

    /// One call; `token`: who asks.
    async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&Secret>,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, RemoteError> {
        let url = format!("{}/v1/{path}", self.settings.address.as_str().trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|_| RemoteError::Odd("no URL".to_owned()))?;
        let mut call = Call::new(method, url);
        // Browsers cannot be made to send it: Vault may demand it (request forgery).
        call.headers.insert("x-vault-request", HeaderValue::from_static("true"));
        let header = |bytes: &[u8]| {
            let mut value = HeaderValue::from_bytes(bytes)
                .map_err(|_| RemoteError::Credentials("the token or namespace holds odd characters".to_owned()))?;
            value.set_sensitive(true);
            Ok::<_, RemoteError>(value)
        };
        if let Some(token) = token {
            call.headers.insert("x-vault-token", header(token.expose())?);
        }
        if let Some(namespace) = &self.settings.namespace {
            call.headers.insert("x-vault-namespace", header(namespace.as_bytes())?);
        }
        if let Some(body) = body {
            call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            call.body = Some(Bytes::from(body));
        }
        self.client.send(call).await.map_err(|error| unreachable(&error))
    }

    /// The token to ask with, and whether it came of a login. `refused`: not this one.
    async fn token(&self, refused: Option<&Secret>) -> Result<(Secret, bool), RemoteError> {
        if let Login::Token(token) = &self.settings.login {
            return Ok((token.clone(), false));
        }
        let mut held = self.session.0.lock().await;
        let settings = self.fingerprint();
        let now = Instant::now();
        let usable = held.take().filter(|held| {
            held.settings == settings
                && held.ends_at.is_none_or(|end| now < end)
                && refused.is_none_or(|refused| refused.expose() != held.token.expose())
        });
        let next = match usable {
            Some(usable) if usable.renew_at.is_none_or(|at| now < at) => usable,
            Some(usable) if usable.renewable => match self.renew(&usable.token).await {
                Ok(renewed) => renewed,
                Err(_) => self.log_in().await?,
            },
            Some(_) | None => self.log_in().await?,
        };
        let token = next.token.clone();
        *held = Some(next);
        Ok((token, true))
    }

    /// Tells one way to log in from another.
    fn fingerprint(&self) -> [u8; 32] {
        let VaultSettings { address, namespace, login, .. } = &self.settings;
        let mut digest = Sha256::new();
        digest.update(format!("{address}\n{namespace:?}\n{login:?}\n"));
        if let Login::AppRole { secret_id, .. } = login {
            digest.update(secret_id.expose());
        }
        digest.finalize().into()
    }

    async fn log_in(&self) -> Result<Held, RemoteError> {
        #[derive(Serialize)]
        struct AppRoleLogin<'a> {
            role_id: &'a str,
            secret_id: &'a str,
        }
        #[derive(Serialize)]
        struct KubernetesLogin<'a> {
            role: &'a str,
            jwt: &'a str,
        }
        let no_text = || RemoteError::Credentials("what it logs in with is no text".to_owned());
        let (mount, body) = match &self.settings.login {
            Login::Token(_) => return Err(RemoteError::Credentials("a token does not log in".to_owned())),
            Login::AppRole { mount, role_id, secret_id } => {
                let secret_id = secret_id.expose_str().ok_or_else(no_text)?;
                (mount, serde_json::to_vec(&AppRoleLogin { role_id, secret_id }))
            }
            Login::Kubernetes { mount, role, token_file } => {
                let jwt = file::resolve(token_file).map_err(|error| RemoteError::Credentials(error.to_string()))?;
                let jwt = jwt.expose_str().ok_or_else(no_text)?;
                (mount, serde_json::to_vec(&KubernetesLogin { role, jwt }))
            }
        };
        let body = body.map_err(|_| no_text())?;
        let answer = self.call(Method::POST, &format!("auth/{mount}/login"), None, Some(body)).await?;
        self.held(&answer)
    }

    async fn renew(&self, token: &Secret) -> Result<Held, RemoteError> {
        let answer = self.call(Method::POST, "auth/token/renew-self", Some(token), Some(b"{}".to_vec())).await?;
        self.held(&answer)
    }

    fn held(&self, answer: &Answer) -> Result<Held, RemoteError> {
        match answer.status {
            StatusCode::OK => {}
            // A role that is gone is told by 400, an invalid secret id by 400 or 403.
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(RemoteError::Credentials(format!("status {}", answer.status.as_u16())));
            }
            status => return Err(status_error(status)),
        }
        let auth: Authenticated = parsed(answer)?;
        let Auth { client_token, lease_duration, renewable } =
            auth.auth.ok_or_else(|| RemoteError::Odd("a login without a token".to_owned()))?;
        let (now, lease) = (Instant::now(), Duration::from_secs(lease_duration));
        // A lease of 0 does not end.
        let ends = lease_duration > 0;
        Ok(Held {
            settings: self.fingerprint(),
            token: Secret::new(client_token.as_bytes().to_vec()),
            renew_at: ends.then(|| now + lease / 2),
            ends_at: ends.then(|| now + lease),
            renewable,
        })
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Answer, RemoteError> {
        let (token, logged_in) = self.token(None).await?;
        let answer = self.call(method.clone(), path, Some(&token), body.clone()).await?;
        if answer.status != StatusCode::FORBIDDEN || !logged_in {
            return Ok(answer);
        }
        // It may have been revoked before its end. If not, a path is forbidden, and to log in for each of these would
        // use up what we log in with.
        let known = self.call(Method::GET, "auth/token/lookup-self", Some(&token), None).await?;
        if known.status != StatusCode::FORBIDDEN {
            return Ok(answer);
        }
        let (token, _) = self.token(Some(&token)).await?;
        self.call(method, path, Some(&token), body).await
    }

    async fn version(&self, name: &str, version: Option<&str>) -> Result<(Document, u32), RemoteError> {
        let path = version.map_or_else(|| name.to_owned(), |version| format!("{name}?version={version}"));
        let answer = self.ask(Method::GET, &path, None).await?;
        match answer.status {
            StatusCode::OK => {}
            // A deleted version is told by 404 with its metadata, as is a destroyed one.
            StatusCode::NOT_FOUND => {
                let told = answer.whole().ok().and_then(|body| serde_json::from_slice::<Read<'_>>(body).ok());
                let is_version = version.is_some() || told.is_some_and(|told| told.data.is_some());
                return Err(if is_version { RemoteError::NoVersion } else { RemoteError::NotFound });
            }
            status => return Err(status_error(status)),
        }
        let read: Read<'_> = parsed(&answer)?;
        let odd = || RemoteError::Odd("no `data.data` of KV version 2".to_owned());
        let ReadData { data, metadata } = read.data.ok_or_else(odd)?;
        let content = data.ok_or(RemoteError::NoVersion)?;
        let content = Secret::new(content.get().as_bytes().to_vec());
        let created = Timestamp::parse_rfc3339(&metadata.created_time).ok();
        Ok((Document { content, created }, metadata.version))
    }
}

#[async_trait]
impl Provider for Vault {
    async fn read(&self, location: &Location) -> Result<Document, RemoteError> {
        let Location { name, version, .. } = location;
        let read = match version {
            Version::Current => self.version(name, None).await?,
            Version::Named(version) => self.version(name, Some(version)).await?,
            Version::Previous => {
                let (_, current) = self.version(name, None).await?;
                let before = current.checked_sub(1).filter(|before| *before > 0).ok_or(RemoteError::NoVersion)?;
                self.version(name, Some(&before.to_string())).await?
            }
        };
        Ok(read.0)
    }

    async fn write(&self, location: &Location, change: Change<'_>) -> Result<(), RemoteError> {
        let (document, version) = self.version(&location.name, None).await?;
        let content = change.applied_to(&document)?;
        let head = format!("{{\"options\":{{\"cas\":{version}}},\"data\":");
        let mut body = Vec::with_capacity(head.len() + content.expose().len() + 1);
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content.expose());
        body.push(b'}');
        let answer = self.ask(Method::POST, &location.name, Some(body)).await?;
        match answer.status {
            StatusCode::OK => Ok(()),
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                Err(RemoteError::ReadOnly(format!("status {}", answer.status.as_u16())))
            }
            // All that is wrong with a write of this form: the version is not the one that was read.
            StatusCode::BAD_REQUEST => Err(RemoteError::Changed),
            status => Err(status_error(status)),
        }
    }
}

fn unreachable(error: &CallError) -> RemoteError {
    match error {
        CallError::TooLarge | CallError::Compressed => RemoteError::Odd(error.to_string()),
        error => RemoteError::Unavailable(error.to_string()),
    }
}

fn parsed<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Result<T, RemoteError> {
    let body = answer.whole().map_err(|error| unreachable(&error))?;
    // What serde says could repeat a value.
    serde_json::from_slice(body).map_err(|_| RemoteError::Odd("no JSON as documented".to_owned()))
}

/// What a status other than 200 and 404 says (Vault's API, "HTTP status codes" and `sys/health`).
fn status_error(status: StatusCode) -> RemoteError {
    let number = status.as_u16();
    let why = match number {
        401 | 403 => return RemoteError::Denied(format!("status {number}")),
        300..=399 => "it sends us elsewhere: name the address of the active node",
        412 => "the node is behind",
        429 => "it asks us to come back, or is a standby",
        472 => "it is a secondary for disasters",
        473 => "it is a standby for performance",
        503 => "it is sealed or in maintenance",
        500..=599 => "it failed",
        _ => return RemoteError::Odd(format!("status {number}")),
    };
    RemoteError::Unavailable(format!("status {number}: {why}"))
}
