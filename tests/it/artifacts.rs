//! Artifacts of the whole gateway: uploads that events refer to, what jobs keep, links that end, retention
//! and erasure; in the folder, and in a bucket of a server that checks signatures.

mod kept;
mod s3;
mod uploads;

use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{App, Sender};

/// What a sender asks for these bytes.
fn asking(bytes: &[u8], media_type: &str) -> Value {
    json!({ "upload": { "length": bytes.len(), "type": media_type, "sha256": hex::encode(Sha256::digest(bytes)) } })
}

/// An upload as it is to be made.
struct Upload {
    key: String,
    url: String,
    headers: HeaderMap,
}

impl Upload {
    /// Asks for leave.
    async fn ask(sender: &Sender, bytes: &[u8], media_type: &str) -> Self {
        let answer = sender.uploading().send("upload", &asking(bytes, media_type)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Self::of(&answer.body)
    }

    fn of(promise: &Value) -> Self {
        assert_eq!((&promise["stored"], &promise["upload"]["method"]), (&json!(false), &json!("PUT")), "{promise}");
        let mut headers = HeaderMap::new();
        for (name, value) in promise["upload"]["headers"].as_object().unwrap() {
            if name != "content-length" {
                let name: reqwest::header::HeaderName = name.parse().unwrap();
                headers.insert(name, value.as_str().unwrap().parse().unwrap());
            }
        }
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self { key: text(&promise["key"]), url: text(&promise["upload"]["url"]), headers }
    }

    /// Puts these bytes there; the status.
    async fn put(&self, bytes: &[u8]) -> u16 {
        put(&self.url, self.headers.clone(), bytes).await
    }
}

async fn put(url: &str, headers: HeaderMap, bytes: &[u8]) -> u16 {
    let request = reqwest::Client::new().request(Method::PUT, url).headers(headers).body(bytes.to_vec());
    request.send().await.unwrap().status().as_u16()
}

/// Where the API leads for an artifact, without following.
async fn location(app: &App, id: &str) -> String {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let request = app.request(Method::GET, &format!("/api/v1/artifacts/{id}")).build().unwrap();
    let answer = client.execute(request).await.unwrap();
    assert_eq!(answer.status(), 303);
    answer.headers()["location"].to_str().unwrap().to_owned()
}

/// The last segment of a key.
fn id_of(key: &str) -> &str {
    key.rsplit('/').next().unwrap()
}
