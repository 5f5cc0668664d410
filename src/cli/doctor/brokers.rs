//! The brokers that events are published to: whether they let us in, and whether what is published to is
//! there.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;

use super::Finding;
use crate::{
    brokers::{Brokers, Destination, Failure},
    config::{ActionConfig, Config, QueuePublish},
    http_client::{CallError, HttpClient},
};

const CHECK: &str = "brokers";
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// No more of them are asked.
const MOST: usize = 50;

/// Signs in to every broker of the configuration.
pub(super) async fn reach(config: &Config) -> Vec<Finding> {
    let places = places(config);
    if places.is_empty() {
        return Vec::new();
    }
    let brokers = match HttpClient::new(config.outbound.allow_private.clone()) {
        Ok(client) => &Brokers::new(client),
        Err(error) => return vec![Finding::bad(CHECK, error.to_string(), "")],
    };
    let asked = places.iter().take(MOST).map(|(place, publish)| async move {
        match brokers.look(&publish.endpoint, literal(&publish.destination), PATIENCE).await {
            Ok(said) => Finding::ok(CHECK, format!("{place}: {said}")),
            Err(failure) => Finding::bad(CHECK, format!("{place}: {failure}"), cure(&failure)),
        }
    });
    let mut findings = join_all(asked).await;
    if places.len() > MOST {
        findings.push(Finding::warn(CHECK, format!("{} more were not asked", places.len() - MOST), ""));
    }
    findings
}

/// Each broker and place in it once, by how it is shown.
fn places(config: &Config) -> BTreeMap<String, &QueuePublish> {
    let sources = config.tenants.values().flat_map(|tenant| tenant.sources.values());
    let publishes = sources.flat_map(|source| &source.routes).filter_map(|route| match &route.action {
        ActionConfig::QueuePublish(publish) => Some(publish),
        _ => None,
    });
    publishes.map(|publish| (shown(publish), publish)).collect()
}

/// The broker and, as the configuration has it, the place; of two users at one broker each.
fn shown(publish: &QueuePublish) -> String {
    let texts = publish.destination.texts();
    let names: Vec<_> = texts.iter().map(|(key, text)| format!("{key} `{text}`")).collect();
    let endpoint = &publish.endpoint;
    format!("{} at {}#{}, {}", endpoint.kind.as_str(), endpoint.authority(), endpoint.id().short(), names.join(", "))
}

/// The place, where no event has a part in its name.
fn literal(destination: &Destination) -> Option<&Destination> {
    destination.texts().iter().all(|(_, text)| !text.contains('{')).then_some(destination)
}

const fn cure(failure: &Failure) -> &'static str {
    match failure {
        Failure::Credentials => "correct the user and password in the URL that the route refers to",
        Failure::Forbidden(_) => "let its user do that",
        Failure::Unroutable(_) => "make it at the broker, or correct the route: events are tried again until then",
        Failure::NotTaken(_) => "jobs are tried again until it takes them",
        Failure::TooLarge => "",
        Failure::NotBuilt(_) => "build it with that feature",
        Failure::Call(CallError::RefusedAddress(_) | CallError::RefusedUrl(_)) => {
            "add its network to `outbound.allow_private` if it is meant, or write its URL with TLS"
        }
        Failure::Call(CallError::Tls(_)) => {
            "its certificate must be valid for that name, and its authority be trusted (`ca`)"
        }
        Failure::Call(_) => "correct the URL, or let this machine reach it (name resolution, firewall)",
    }
}
