//! One try to tell one receiver.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use sluice_actors::ports::Clock;
use url::Url;

use super::{Alert, mail};
use crate::{
    api::alerts::Tried,
    config::{Cause, Channel, Config, Receiver},
    http_client::{Answer, Call, CallError, HttpClient},
    ids, redact,
    secrets::Secret,
    vendors::{self, Outgoing},
};

/// Characters of an answer that are shown to who tries a receiver.
const SHOWN: usize = 120;

/// Why a receiver was not told. Names no URL and no credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// In words.
    pub(super) reason: String,
    /// Whether another try cannot help.
    pub(super) is_final: bool,
    /// What the receiver asked to wait.
    pub(super) retry_after: Option<Duration>,
}

impl Refused {
    pub(super) fn new(reason: impl Into<String>, is_final: bool) -> Self {
        Self { reason: reason.into(), is_final, retry_after: None }
    }
}

impl From<CallError> for Refused {
    fn from(error: CallError) -> Self {
        let is_final = matches!(error, CallError::RefusedAddress(_) | CallError::RefusedUrl(_));
        Self::new(error.to_string(), is_final)
    }
}

/// Tells receivers.
#[derive(Clone)]
pub struct Poster {
    /// The one way out.
    pub client: HttpClient,
    /// Wall time, which is signed.
    pub clock: Arc<dyn Clock>,
}

impl Poster {
    /// Tells a receiver once. `Ok`: what it answered, in words.
    pub(super) async fn post(&self, receiver: &Receiver, alert: &Alert) -> Result<String, Refused> {
        let own = (!receiver.sample).then(|| alert.clone().without_sample());
        let alert = own.as_ref().unwrap_or(alert);
        match &receiver.channel {
            Channel::Webhook { url, secret } => {
                let body = alert.to_json().to_string();
                let headers = self.signed(&url.0, alert, &body, secret)?;
                self.send(url.0.clone(), headers, body).await
            }
            Channel::Slack { url } => {
                let body = serde_json::json!({ "text": alert.chat() }).to_string();
                self.send(url.0.clone(), HeaderMap::new(), body).await
            }
            Channel::Email(to) => mail::send(&self.client, to, alert).await,
        }
    }

    /// Tells each receiver of a configuration once that this is a test.
    pub async fn try_all(&self, config: &Config) -> Vec<Tried> {
        let alert = Alert {
            id: format!("alert_{}", hex::encode(ids::nonce())),
            cause: Cause::Test,
            at: self.clock.now(),
            tenants: Vec::new(),
            source: None,
            callee: None,
            summary: "this is a test: somebody ran `sluice alert test`".to_owned(),
            suppressed: 0,
            failure: None,
            link: config.admin.public_url.as_ref().map_or_else(String::new, ToString::to_string),
        };
        let tries = config.alerts.receivers.iter().map(async |receiver| {
            let answered = self.post(receiver, &alert).await;
            let taken = answered.is_ok();
            Tried {
                receiver: receiver.name.clone(),
                channel: receiver.channel.word().to_owned(),
                taken,
                answer: answered.unwrap_or_else(|refused| refused.reason),
            }
        });
        join_all(tries).await
    }

    /// As the `standard` sources of another gateway verify it. The id stays through retries, the time does not.
    fn signed(&self, url: &Url, alert: &Alert, body: &str, secret: &Secret) -> Result<HeaderMap, Refused> {
        let cannot = || Refused::new("the alert cannot be signed with this secret", true);
        let standard = vendors::build("standard", &toml::Table::new()).and_then(Result::ok).ok_or_else(cannot)?;
        let outgoing = Outgoing {
            url: url.as_str(),
            id: &alert.id,
            event_type: alert.cause.as_str(),
            now: self.clock.now(),
            body: body.as_bytes(),
        };
        Ok(standard.sign(&outgoing, secret).map_err(|_| cannot())?.into_iter().collect())
    }

    async fn send(&self, url: Url, mut headers: HeaderMap, body: String) -> Result<String, Refused> {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let call = Call { headers, body: Some(Bytes::from(body)), ..Call::new(Method::POST, url) };
        let answer = self.client.send(call).await?;
        let words = words(&answer);
        let status = answer.status;
        if status.is_success() {
            return Ok(words);
        }
        let is_passing = status.is_server_error()
            || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS].contains(&status);
        let retry_after = answer.retry_after(self.clock.now());
        Err(Refused { reason: words, is_final: !is_passing, retry_after })
    }
}

/// The status, and the beginning of the answer where it is plain text.
fn words(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(answer.partial());
    let line = text.lines().next().unwrap_or_default().trim();
    let plain = !line.is_empty() && !line.starts_with('<') && !line.contains(char::is_control);
    if plain {
        let line: String = redact::text(line).chars().take(SHOWN).collect();
        format!("{}: {line}", answer.status)
    } else {
        answer.status.to_string()
    }
}
