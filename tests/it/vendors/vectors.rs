//! The vendors' own test vectors.

use http::{HeaderMap, HeaderName, Method};
use serde_json::Value;
use sluice::vendors::{self, Refusal};
use sluice_actors::domain::Timestamp;

use super::{Delivery, fixtures, secret};

/// When a vector was signed, so that its age is not what decides.
fn signed_at(vendor: &str, headers: &HeaderMap, body: &str) -> Timestamp {
    let number = |name: &str| headers[name].to_str().expect("text").parse::<i64>().expect("a number");
    match vendor {
        "openai" | "standard" => Timestamp::from_secs(number("webhook-timestamp")),
        "svix" => Timestamp::from_secs(number("svix-timestamp")),
        "slack" => Timestamp::from_secs(number("x-slack-request-timestamp")),
        "zoom" => Timestamp::from_secs(number("x-zm-request-timestamp")),
        "discord" => Timestamp::from_secs(number("x-signature-timestamp")),
        "generic" => Timestamp::from_secs(number("x-timestamp")),
        "sendgrid" => Timestamp::from_secs(number("x-twilio-email-event-webhook-timestamp")),
        "hubspot" if headers.contains_key("x-hubspot-request-timestamp") => {
            Timestamp::from_millis(number("x-hubspot-request-timestamp"))
        }
        "stripe" => Timestamp::from_secs(1_234_567_890),
        "linear" => {
            let body: Value = serde_json::from_str(body).expect("JSON");
            Timestamp::from_millis(body["webhookTimestamp"].as_i64().expect("a number"))
        }
        "hubspot" | "notion" | "github" | "shopify" | "twilio" => Timestamp::from_secs(0),
        other => panic!("when was a vector of {other} signed?"),
    }
}

#[test]
fn every_published_vector_gets_its_verdict() {
    let text = std::fs::read_to_string(fixtures().join("vectors.json")).expect("vectors.json");
    let vectors: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    assert_eq!(vectors.len(), 41);
    for vector in vectors {
        let text = |key: &str| vector[key].as_str();
        let (name, source) = (text("vendor").expect("a vendor"), text("source").expect("a source"));
        let headers: HeaderMap = vector["headers"]
            .as_object()
            .expect("headers")
            .iter()
            .map(|(name, value)| {
                let value = value.as_str().expect("text").parse().expect("a value");
                (name.parse::<HeaderName>().expect("a name"), value)
            })
            .collect();
        let body = text("body").expect("a body");
        let vendor = vendors::build(name, &toml::Table::new()).expect("a vendor").expect("no options");
        let now = signed_at(name, &headers, body);
        let mut delivery = Delivery {
            method: text("method").map_or(Method::POST, |method| method.parse().expect("a method")),
            url: text("url").unwrap_or("https://hooks.example.com/").to_owned(),
            headers,
            body: body.as_bytes().to_vec(),
            now,
        };
        let media = if name == "twilio" && !body.starts_with('{') {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        delivery = delivery.with("content-type", media);
        let key = vendor.key(&secret(text("secret").expect("a secret"))).expect("a key");
        let result = vendor.verify(&delivery.request(), &[key], vendor.profile().tolerance);
        match text("verdict") {
            Some("valid") => assert!(result.is_ok(), "{name}: {source}: {result:?}"),
            Some("invalid") => assert!(
                matches!(result, Err(Refusal::BadSignature | Refusal::MalformedSignature | Refusal::MissingSignature)),
                "{name}: {source}: {result:?}"
            ),
            verdict => panic!("{name}: {source}: what is {verdict:?}?"),
        }
    }
}
