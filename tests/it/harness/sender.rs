//! A sender that signs as its vendor does.

use std::sync::Arc;

use reqwest::{Client, StatusCode, header::HeaderMap};
use serde_json::Value;
use sluice::{
    clock::SystemClock,
    secrets::Secret,
    vendors::{self, Outgoing, Vendor},
};
use sluice_actors::{domain::Timestamp, ports::Clock};

/// Signs and sends deliveries to one source.
#[derive(Clone)]
pub(crate) struct Sender {
    client: Client,
    vendor: Arc<dyn Vendor>,
    secret: Secret,
    url: String,
    /// Beside what the vendor signs.
    more: HeaderMap,
}

/// What the gateway answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body; `Null` if it is no JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// The id of the event it names.
    pub(crate) fn event(&self) -> &str {
        self.body["event_id"].as_str().unwrap_or_else(|| panic!("no event id in {self:?}"))
    }

    /// Whether it is a success for something that was there already.
    pub(crate) fn is_duplicate(&self) -> bool {
        self.body["duplicate"] == true
    }
}

impl Sender {
    /// A sender to `{origin}/webhooks/{tenant}/{source}`.
    pub(crate) fn new(origin: &str, tenant: &str, source: &str, vendor: &str, secret: &str) -> Self {
        let vendor = vendors::build(vendor, &toml::Table::new()).expect("a vendor").expect("needs no options");
        let url = format!("{origin}/webhooks/{tenant}/{source}");
        Self {
            client: Client::new(),
            vendor,
            secret: Secret::new(secret.as_bytes().to_vec()),
            url,
            more: HeaderMap::new(),
        }
    }

    /// The same sender after the gateway moved to another port.
    pub(crate) fn at(&self, origin: &str) -> Self {
        let path = self.url.find("/webhooks/").expect("a webhook URL");
        Self { url: format!("{origin}{}", &self.url[path..]), ..self.clone() }
    }

    /// The same sender with another secret.
    pub(crate) fn with_secret(&self, secret: &str) -> Self {
        Self { secret: Secret::new(secret.as_bytes().to_vec()), ..self.clone() }
    }

    /// The same sender with a trace of its own, and a query that the scheme does not sign.
    pub(crate) fn traced(&self, traceparent: &str, query: &str) -> Self {
        let mut more = self.more.clone();
        more.insert("traceparent", traceparent.parse().expect("a header value"));
        Self { more, url: format!("{}?{query}", self.url), ..self.clone() }
    }

    /// Sends `body`, signed now.
    pub(crate) async fn send(&self, id: &str, body: &Value) -> Answer {
        self.send_at(SystemClock.now(), id, body).await.expect("the gateway answers")
    }

    /// The same sender, asking for leave to upload.
    pub(crate) fn uploading(&self) -> Self {
        Self { url: self.url.replace("/webhooks/", "/uploads/"), ..self.clone() }
    }

    /// Sends `body`, signed as at `now`. `Err`: the connection broke or was refused.
    pub(crate) async fn send_at(&self, now: Timestamp, id: &str, body: &Value) -> reqwest::Result<Answer> {
        self.send_bytes(now, id, body.to_string().into_bytes(), "application/json").await
    }

    /// Sends the vendor's own sample under `id`.
    pub(crate) async fn sample(&self, id: &str) -> Answer {
        let now = SystemClock.now();
        let sample = self.vendor.sample(id, now);
        self.send_bytes(now, id, sample.body, sample.content_type).await.expect("the gateway answers")
    }

    async fn send_bytes(&self, now: Timestamp, id: &str, body: Vec<u8>, media: &str) -> reqwest::Result<Answer> {
        let outgoing = Outgoing { url: &self.url, id, event_type: "assistant.completed", now, body: &body };
        let headers = self.vendor.sign(&outgoing, &self.secret).expect("the secret is of the vendor's form");
        let mut request = self.client.post(&self.url).header("content-type", media).headers(self.more.clone());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.body(body).send().await?;
        let status = response.status();
        let bytes = response.bytes().await?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{body}");
        Ok(Answer { status: status.as_u16(), body })
    }
}
