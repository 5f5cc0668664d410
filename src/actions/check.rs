//! What every (re)load of the configuration and `sluice check` ask of a route's action: what would
//! fail at three in the morning fails now, with the key that must change.

use http::HeaderName;

use super::{
    http_call, http_forward, queue_publish,
    template::{self, Target},
};
use crate::{
    brokers::Destination,
    config::{ActionConfig, HttpCall, QueuePublish, Route},
};

/// A key of a route that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct Problem {
    /// The key within the route's table; `fetch.…` within its `fetch`.
    pub key: &'static str,
    /// What is wrong and what is expected.
    pub reason: String,
}

/// What of a route's templates, headers and keys cannot work. What needs only the file's own form
/// (required keys, URLs, references) is the configuration's to check.
pub fn route(route: &Route) -> Vec<Problem> {
    let mut problems = Problems(Vec::new());
    if let Some(fetch) = &route.fetch {
        problems.url("fetch.url", &fetch.url);
        problems.headers("fetch.headers", &fetch.headers);
    }
    match &route.action {
        ActionConfig::WordpressPublish { title, summary, .. } => {
            problems.add("title", template::check(Target::Text, title));
            problems.add("summary", template::check(Target::Text, summary));
        }
        ActionConfig::HttpCall(call) => {
            problems.url("url", &call.url);
            problems.headers("headers", &call.headers);
            problems.add("body", body(call));
        }
        ActionConfig::HttpForward(forward) => {
            let key = http_forward::key(&forward.secret).map(|_| ());
            problems.add("secret", key.ok_or("is not a Standard Webhooks secret (`whsec_` and base64)"));
        }
        ActionConfig::QueuePublish(publish) => problems.queue(publish),
        ActionConfig::SummarizeAndPublish { .. } | ActionConfig::Log => {}
    }
    problems.0
}

fn body(call: &HttpCall) -> Result<(), String> {
    let Some(body) = &call.body else { return Ok(()) };
    let content_type = call.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    template::check(http_call::target(content_type.map_or("", |(_, value)| value)), body)
}

/// Headers that the client or the action sets by itself.
const OURS: [&str; 6] = ["host", "content-length", "transfer-encoding", "connection", "authorization", "traceparent"];

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, key: &'static str, result: Result<(), impl ToString>) {
        if let Err(reason) = result {
            self.0.push(Problem { key, reason: reason.to_string() });
        }
    }

    fn url(&mut self, key: &'static str, template: &str) {
        self.add(key, template::literal_origin(template).map(|_| ()));
        self.add(key, template::check(Target::Url, template));
    }

    /// A name without a template must be one already.
    fn queue(&mut self, publish: &QueuePublish) {
        let kind = publish.endpoint.kind.as_str();
        let is_nats = matches!(publish.destination, Destination::Nats { .. });
        for (name, text) in publish.destination.texts() {
            let is_literal = !text.contains(['{', '}']);
            let named = if is_literal { queue_publish::check_name(name, text, is_nats) } else { Ok(()) };
            let syntax = template::check(Target::Text, text).map_err(|reason| format!("{name}: {reason}"));
            self.add(kind, syntax.and(named));
        }
        for (name, template) in &publish.headers {
            let checked = if queue_publish::is_reserved(name) {
                Err(format!("`{name}` is set by the gateway"))
            } else {
                template::check(Target::Text, template)
            };
            self.add("headers", checked);
        }
    }

    fn headers(&mut self, key: &'static str, headers: &[(String, String)]) {
        for (name, template) in headers {
            let checked = match name.parse::<HeaderName>() {
                Err(_) => Err(format!("`{name}` is not a header name")),
                Ok(parsed) if OURS.contains(&parsed.as_str()) => {
                    Err(format!("`{name}` is set by the gateway (credentials go into `auth`)"))
                }
                Ok(_) => template::check(Target::Text, template),
            };
            self.add(key, checked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        brokers::{BrokerKind, Endpoint},
        config::{Auth, Fetch, HttpForward, QueueBody},
        secrets::Secret,
    };

    fn checked(action: ActionConfig, fetch: Option<Fetch>) -> Vec<&'static str> {
        let problems = super::route(&Route {
            name: "r".parse().unwrap(),
            event_types: vec![],
            filter: vec![],
            action,
            fetch,
            attachments: vec![],
        });
        problems.into_iter().map(|problem| problem.key).collect()
    }

    fn call(url: &str, header: (&str, &str), body: &str) -> ActionConfig {
        ActionConfig::HttpCall(HttpCall {
            method: http::Method::POST,
            url: url.into(),
            headers: vec![(header.0.into(), header.1.into())],
            body: Some(body.into()),
            auth: Auth::None,
        })
    }

    #[test]
    fn each_key_that_cannot_work_is_named() {
        let good = ("x-tag", "{{ event_type }}");
        let url = "https://crm.example/{{ subject_id }}";
        assert_eq!(checked(call(url, good, "{}"), None), [""; 0]);
        assert_eq!(checked(call("https://{{ data.host }}/", good, "{}"), None), ["url"]);
        assert_eq!(checked(call("https://crm.example/{{ x", good, "{}"), None), ["url"]);
        assert_eq!(checked(call(url, ("bad name", "x"), "{}"), None), ["headers"]);
        assert_eq!(checked(call(url, ("Authorization", "x"), "{}"), None), ["headers"]);
        assert_eq!(checked(call(url, ("x-tag", "{% if %}"), "{}"), None), ["headers"]);
        assert_eq!(checked(call(url, good, "{{"), None), ["body"]);
        let publish = |title: &str| ActionConfig::WordpressPublish {
            title: title.into(),
            summary: "{{ data.text }}".into(),
            publish: crate::config::Publish::default(),
        };
        assert_eq!(checked(publish("{{ event_type }}"), None), [""; 0]);
        assert_eq!(checked(publish("{{ event_type"), None), ["title"]);
        let fetch = Fetch { url: "https://{{ x }}/".into(), auth: Auth::None, headers: vec![] };
        assert_eq!(checked(ActionConfig::Log, Some(fetch)), ["fetch.url"]);
        let forward = |secret: &str| {
            let url = "https://hooks.example/".parse().unwrap();
            ActionConfig::HttpForward(HttpForward { url, secret: Secret::new(secret.into()) })
        };
        assert_eq!(checked(forward("whsec_c2VjcmV0"), None), [""; 0]);
        assert_eq!(checked(forward("secret"), None), ["secret"]);
        let queue = |subject: &str, header: &str| {
            ActionConfig::QueuePublish(QueuePublish {
                endpoint: Endpoint::parse(BrokerKind::Nats, "nats://127.0.0.1", None).unwrap(),
                destination: Destination::Nats { subject: subject.into() },
                headers: vec![(header.into(), "{{ source }}".into())],
                body: QueueBody::Event,
            })
        };
        assert_eq!(checked(queue("orders.{{ event_type }}", "x-source"), None), [""; 0]);
        assert_eq!(checked(queue("orders.{{ event_type", "x-source"), None), ["nats"]);
        assert_eq!(checked(queue("orders.*", "x-source"), None), ["nats"]);
        assert_eq!(checked(queue("orders", "Event_Id"), None), ["headers"]);
        assert_eq!(checked(queue("orders", "Nats-Msg-Id"), None), ["headers"]);
    }
}
