//! Where a broker is and who we are there, read from its URL.

use std::{fmt, sync::Arc};

use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::secrets::{Secret, digits};

/// The brokers that are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BrokerKind {
    /// Redis (or Valkey), with streams.
    Redis,
    /// `RabbitMQ` (AMQP 0.9.1).
    RabbitMq,
    /// NATS with `JetStream`.
    Nats,
}

impl BrokerKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Redis, Self::RabbitMq, Self::Nats];

    /// Its word in the configuration, which is the cargo feature's name as well.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::RabbitMq => "rabbitmq",
            Self::Nats => "nats",
        }
    }

    /// Whether this build speaks to it.
    pub const fn is_built(self) -> bool {
        match self {
            Self::Redis => cfg!(feature = "redis"),
            Self::RabbitMq => cfg!(feature = "rabbitmq"),
            Self::Nats => cfg!(feature = "nats"),
        }
    }

    /// The schemes of its URLs, without and with TLS, and the ports they mean.
    const fn schemes(self) -> [(&'static str, u16); 2] {
        match self {
            Self::Redis => [("redis", 6379), ("rediss", 6379)],
            Self::RabbitMq => [("amqp", 5672), ("amqps", 5671)],
            Self::Nats => [("nats", 4222), ("tls", 4222)],
        }
    }
}

/// Why a text is not the URL of a broker. Repeats nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidEndpoint(pub String);

/// A broker and who we are there. Shows no password.
pub struct Endpoint {
    /// What it is.
    pub kind: BrokerKind,
    /// Whether TLS is spoken from the first byte (NATS: after its greeting).
    pub tls: bool,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user; empty: none.
    pub user: String,
    /// The password; of NATS without a user, the token is the user.
    pub password: Zeroizing<String>,
    /// The database's number of Redis, the virtual host of `RabbitMQ`.
    pub path: String,
    /// Certificates in PEM that are trusted beside the machine's.
    pub ca: Option<Secret>,
    id: EndpointId,
}

/// Tells endpoints apart, credentials included: a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EndpointId([u8; 32]);

impl Endpoint {
    /// Reads the URL of a broker of this kind.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(kind: BrokerKind, text: &str, ca: Option<Secret>) -> Result<Arc<Self>, InvalidEndpoint> {
        let [(plain, port), (secure, secure_port)] = kind.schemes();
        let wrong = |what: String| Err(InvalidEndpoint(what));
        // The parser's own words could repeat what stands where a port should: a part of a password.
        let Ok(url) = text.parse::<Url>() else { return wrong("is not a URL".to_owned()) };
        let (tls, port) = match url.scheme() {
            scheme if scheme == plain => (false, port),
            scheme if scheme == secure => (true, secure_port),
            _ => return wrong(format!("does not begin with {plain}:// or {secure}://")),
        };
        if url.query().is_some() || url.fragment().is_some() {
            return wrong("has a query or a fragment".to_owned());
        }
        // The URL standard reads hosts of schemes that it does not know as opaque texts.
        let host = match Host::parse(url.host_str().unwrap_or_default()) {
            Ok(Host::Domain(name)) => name,
            Ok(Host::Ipv4(address)) => address.to_string(),
            Ok(Host::Ipv6(address)) => address.to_string(),
            Err(_) => return wrong("has no host".to_owned()),
        };
        let decoded = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8().map_err(|_| ());
            decoded.map_err(|()| InvalidEndpoint("has an escape that is not UTF-8".to_owned())).map(String::from)
        };
        let path = decoded(url.path().strip_prefix('/').unwrap_or_default())?;
        match kind {
            BrokerKind::Redis if !path.is_empty() && path.parse::<u32>().is_err() => {
                return wrong("has a path that is not the number of a database".to_owned());
            }
            BrokerKind::Nats if !path.is_empty() => return wrong("has a path".to_owned()),
            _ => {}
        }
        let mut digest = Sha256::new();
        digest.update(text);
        digest.update(kind.as_str());
        digest.update(ca.as_ref().map_or(&[][..], |ca| ca.expose()));
        Ok(Arc::new(Self {
            kind,
            tls,
            host,
            port: url.port().unwrap_or(port),
            user: decoded(url.username())?,
            password: Zeroizing::new(decoded(url.password().unwrap_or_default())?),
            path,
            ca,
            id: EndpointId(digest.finalize().into()),
        }))
    }

    /// Whether a credential is in its URL.
    pub fn has_credential(&self) -> bool {
        !self.user.is_empty() || !self.password.is_empty()
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Tells it from others.
    pub const fn id(&self) -> EndpointId {
        self.id
    }
}

impl EndpointId {
    /// A few digits that tell it from others in logs and labels.
    pub fn short(&self) -> String {
        digits(&self.0)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}#{}", self.kind.as_str(), self.authority(), self.id.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: BrokerKind, text: &str) -> Result<(bool, String, u16, String, String, String), String> {
        let endpoint = Endpoint::parse(kind, text, None).map_err(|error| error.to_string())?;
        let Endpoint { tls, host, port, user, password, path, .. } = &*endpoint;
        Ok((*tls, host.clone(), *port, user.clone(), password.to_string(), path.clone()))
    }

    #[test]
    fn a_url_says_where_the_broker_is_and_who_we_are() {
        use BrokerKind::{Nats, RabbitMq, Redis};
        let all = |tls, host: &str, port, user: &str, password: &str, path: &str| {
            Ok((tls, host.to_owned(), port, user.to_owned(), password.to_owned(), path.to_owned()))
        };
        for (kind, text, read_as) in [
            (Redis, "redis://r.example", all(false, "r.example", 6379, "", "", "")),
            (Redis, "rediss://:p%40ss@r.example:7000/3", all(true, "r.example", 7000, "", "p@ss", "3")),
            (Redis, "redis://127.1", all(false, "127.0.0.1", 6379, "", "", "")),
            (RabbitMq, "amqp://u:p@[::1]/%2fa", all(false, "::1", 5672, "u", "p", "/a")),
            (RabbitMq, "amqps://u:p@Q.example/", all(true, "q.example", 5671, "u", "p", "")),
            (RabbitMq, "amqp://q.example:80", all(false, "q.example", 80, "", "", "")),
            (Nats, "nats://token@n.example", all(false, "n.example", 4222, "token", "", "")),
            (Nats, "tls://u:p@n.example:443", all(true, "n.example", 443, "u", "p", "")),
        ] {
            assert_eq!(read(kind, text), read_as, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_of_that_broker_is_refused_without_repeating_it() {
        use BrokerKind::{Nats, RabbitMq, Redis};
        for (kind, text) in [
            (Redis, ""),
            (Redis, "PLANTED"),
            (Redis, "redis:"),
            (Redis, "redis://"),
            (Redis, "amqp://PLANTED@r.example"),
            (Redis, "redis://r.example/PLANTED"),
            (Redis, "redis://:PLANTED/@r.example"),
            (Redis, "redis://r.example?password=PLANTED"),
            (RabbitMq, "amqp://u:PLANTED@q.example/a%ff"),
            (RabbitMq, "https://u:PLANTED@q.example"),
            (Nats, "nats://u:PLANTED@n.example/path"),
            (Nats, "nats://a:PLANTED@n.example:port"),
        ] {
            let error = read(kind, text).unwrap_err();
            assert!(!error.contains("PLANTED"), "{text}: {error}");
        }
    }

    #[test]
    fn another_credential_or_authority_is_another_endpoint_and_none_is_shown() {
        let of = |text: &str, ca: Option<&str>| {
            Endpoint::parse(BrokerKind::Redis, text, ca.map(|ca| Secret::new(ca.into()))).unwrap()
        };
        let one = of("redis://:PLANTED@r.example", None);
        assert_eq!(one.id(), of("redis://:PLANTED@r.example", None).id());
        assert_ne!(one.id(), of("redis://:other@r.example", None).id());
        assert_ne!(one.id(), of("redis://:PLANTED@r.example", Some("ca")).id());
        let shown = format!("{one:?}");
        assert!(shown.starts_with("redis:r.example:6379#") && !shown.contains("PLANTED"), "{shown}");
    }
}
