//! `queue_publish`: which broker, and where in it.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    Outbound,
    auth::read_headers,
    finding::Problem,
    section::Section,
    tree::Item,
    units::{self, FromItem},
};
use crate::{
    brokers::{BrokerKind, Destination, Endpoint},
    secrets::Secret,
};

/// `queue_publish`.
#[derive(Debug, Clone)]
pub struct QueuePublish {
    /// The broker.
    pub endpoint: Arc<Endpoint>,
    /// Where in it: templates over the event.
    pub destination: Destination,
    /// Header templates; of Redis fields beside the body.
    pub headers: Vec<(String, String)>,
    /// What the body is.
    pub body: QueueBody,
}

/// What the body of a message is. It is JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum QueueBody {
    /// The normalised event.
    #[default]
    Event,
    /// Only its `data`: what the vendor sent, redacted.
    Data,
}

impl FromItem for QueueBody {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        units::word(item, &[("event", Self::Event), ("data", Self::Data)])
    }
}

impl QueuePublish {
    pub(super) fn read(section: &mut Section<'_>, outbound: &Outbound) -> Option<Self> {
        let mut named = 0;
        let mut broker = None;
        for kind in BrokerKind::ALL {
            let Some(table) = section.table(kind.as_str()) else { continue };
            named += 1;
            broker = read_broker(kind, table, outbound);
            if !kind.is_built() {
                let name = kind.as_str();
                section.error(
                    name,
                    format!("is not in this build: it was made without the cargo feature `{name}`"),
                    format!("build it with `--features {name}`; the container recipe has all brokers"),
                );
            }
        }
        if named != 1 {
            section.error(
                "action",
                format!("names {named} brokers"),
                "write one of redis = { url = …, stream = … }, rabbitmq = { url = …, exchange = …, routing_key = … }, \
                 nats = { url = …, subject = … }",
            );
            broker = None;
        }
        let headers = read_headers(section);
        let body = section.get("body", QueueBody::default());
        let (endpoint, destination) = broker?;
        endpoint.kind.is_built().then_some(Self { endpoint, destination, headers, body })
    }
}

fn read_broker(kind: BrokerKind, mut table: Section<'_>, outbound: &Outbound) -> Option<(Arc<Endpoint>, Destination)> {
    let endpoint = read_endpoint(kind, &mut table, outbound);
    let destination = match kind {
        BrokerKind::Redis => table
            .required("stream", "write the stream's key such as \"orders\"")
            .map(|stream| (stream, table.opt_number("max_len", 1..=1_000_000_000)))
            .map(|(stream, max_len)| Destination::Redis { stream, max_len }),
        BrokerKind::RabbitMq => {
            let exchange = table.required("exchange", "write the exchange's name; \"\" leads to a queue by its name");
            let routing_key: String = table.get("routing_key", String::new());
            if exchange.as_ref().is_some_and(String::is_empty) && routing_key.is_empty() {
                table.error(
                    "routing_key",
                    "is missing, and the exchange has no name",
                    "write the name of the queue that the events go to",
                );
            }
            exchange.map(|exchange| Destination::RabbitMq { exchange, routing_key })
        }
        BrokerKind::Nats => table
            .required("subject", "write the subject such as \"orders.{{ event_type }}\"")
            .map(|subject| Destination::Nats { subject }),
    };
    table.finish();
    endpoint.zip(destination)
}

/// The broker behind `url`, which is a reference unless there is no credential in it.
fn read_endpoint(kind: BrokerKind, table: &mut Section<'_>, outbound: &Outbound) -> Option<Arc<Endpoint>> {
    let example = match kind {
        BrokerKind::Redis => "rediss://user:password@redis.example.com:6379",
        BrokerKind::RabbitMq => "amqps://user:password@rabbitmq.example.com/vhost",
        BrokerKind::Nats => "tls://user:password@nats.example.com:4222",
    };
    let cure = format!("write a reference to a secret such as {example}");
    if !table.has("url") {
        table.error("url", "is missing", &cure);
    }
    let has_ca = table.has("ca");
    let ca = table.public("ca");
    if ca.as_ref().is_some_and(|ca| !is_pem(ca)) {
        table.error("ca", "is not certificates in PEM", "refer to a file that begins with -----BEGIN CERTIFICATE-----");
    }
    let (url, is_reference) = table.text_or_secret("url")?;
    let endpoint = match Endpoint::parse(kind, url.expose_str().unwrap_or_default(), ca) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            table.error("url", error.to_string(), cure);
            return None;
        }
    };
    if !is_reference && endpoint.has_credential() {
        table.error("url", "has a credential in it", cure);
        return None;
    }
    if has_ca && !endpoint.tls {
        table.error("ca", "is for TLS, which the URL does not speak", "write its URL with TLS, or remove `ca`");
    }
    if let Err(problem) = outbound.check_broker(&endpoint) {
        table.problem("url", problem);
    }
    Some(endpoint)
}

fn is_pem(ca: &Secret) -> bool {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(ca.expose()).collect();
    read.is_ok_and(|certificates| !certificates.is_empty())
}
