//! The operator's own brokers: the one home of the crates that speak to Redis, `RabbitMQ` and NATS.
//!
//! A message counts as published once its broker confirmed it, and only then. Connections are shared by
//! all who use the same URL, opened when somebody publishes, closed when nobody did for a while; nothing
//! reconnects by itself, so that a broker which is away is asked no more often than the breaker of its
//! callee allows. Errors are our own: those of the crates may hold a URL with its password, or a payload.

#[cfg(any(feature = "redis", feature = "rabbitmq", feature = "nats"))]
mod dial;
mod endpoint;
mod failure;
#[cfg(feature = "nats")]
mod nats;
mod pool;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "redis", feature = "rabbitmq"))]
mod stream;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use sluice_actors::domain::Timestamp;
use tokio::time::{Instant, timeout_at};

use self::pool::Pool;
use crate::http_client::{CallError, HttpClient};

pub use self::{
    endpoint::{BrokerKind, Endpoint, EndpointId, InvalidEndpoint},
    failure::Failure,
};

/// Where at a broker: as templates in the configuration, rendered in a [`Message`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A stream of Redis.
    Redis {
        /// Its key.
        stream: String,
        /// About how many entries it keeps; none: all.
        max_len: Option<u64>,
    },
    /// An exchange of `RabbitMQ`; the empty one leads to the queue that the routing key names.
    RabbitMq {
        /// Its name.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// A subject that a stream of NATS takes.
    Nats {
        /// The subject.
        subject: String,
    },
}

impl Destination {
    /// Its texts with the key that each has in the configuration.
    pub fn texts(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Redis { stream, .. } => vec![("stream", stream)],
            Self::RabbitMq { exchange, routing_key } => vec![("exchange", exchange), ("routing_key", routing_key)],
            Self::Nats { subject } => vec![("subject", subject)],
        }
    }

    /// The same with every text as `change` makes it.
    ///
    /// # Errors
    /// The first of `change`.
    pub fn map<E>(&self, mut change: impl FnMut(&'static str, &str) -> Result<String, E>) -> Result<Self, E> {
        Ok(match self {
            Self::Redis { stream, max_len } => Self::Redis { stream: change("stream", stream)?, max_len: *max_len },
            Self::RabbitMq { exchange, routing_key } => Self::RabbitMq {
                exchange: change("exchange", exchange)?,
                routing_key: change("routing_key", routing_key)?,
            },
            Self::Nats { subject } => Self::Nats { subject: change("subject", subject)? },
        })
    }
}

/// One message.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where to.
    pub destination: Destination,
    /// The event's id.
    pub event_id: String,
    /// The same for every attempt to publish this, and for nothing else: a broker that knows it again
    /// keeps one.
    pub dedupe: String,
    /// The event's type.
    pub event_type: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Headers, of Redis fields beside the body. Names and values without control characters.
    pub headers: Vec<(String, String)>,
    /// JSON.
    pub body: Bytes,
}

/// A connection to one broker.
#[async_trait]
trait Client: Send + Sync + 'static {
    /// Publishes and waits for the broker's confirmation; returns what it said.
    async fn publish(&self, message: &Message) -> Result<Value, Failure>;

    /// Whether the destination is there, in words.
    async fn look(&self, destination: &Destination) -> Result<&'static str, Failure>;

    /// Whether it can be used, as far as is known.
    fn is_open(&self) -> bool;
}

/// Publishes to brokers over shared connections.
pub struct Brokers {
    http: HttpClient,
    pool: Pool,
}

impl Brokers {
    /// Dials what `http` may dial.
    pub fn new(http: HttpClient) -> Self {
        Self { http, pool: Pool::default() }
    }

    /// Publishes one message and waits for the broker's confirmation, connecting included at most as long
    /// as `within`. Returns what the broker said of it.
    ///
    /// # Errors
    /// Why the broker may not have it.
    pub async fn publish(&self, endpoint: &Endpoint, message: &Message, within: Duration) -> Result<Value, Failure> {
        let end = Instant::now() + within;
        let slot = self.pool.slot(endpoint);
        let client =
            timeout_at(end, slot.client(|| connect(&self.http, endpoint))).await.unwrap_or_else(|_| late(within))?;
        let published = timeout_at(end, client.publish(message)).await.unwrap_or_else(|_| late(within));
        if published.as_ref().is_err_and(Failure::is_of_connection) {
            // What is left in its buffers goes with it.
            slot.close(&client);
        }
        published
    }

    /// Signs in, and tells whether `destination` is there.
    ///
    /// # Errors
    /// Why not.
    pub async fn look(
        &self,
        endpoint: &Endpoint,
        destination: Option<&Destination>,
        within: Duration,
    ) -> Result<&'static str, Failure> {
        let look = async {
            let client = connect(&self.http, endpoint).await?;
            match destination {
                Some(destination) => client.look(destination).await,
                None => Ok("it lets us in"),
            }
        };
        tokio::time::timeout(within, look).await.unwrap_or_else(|_| late(within))
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.pool.open()
    }
}

fn late<T>(within: Duration) -> Result<T, Failure> {
    Err(Failure::Call(CallError::Timeout(within)))
}

/// Connects and signs in.
#[cfg_attr(
    not(any(feature = "redis", feature = "rabbitmq", feature = "nats")),
    expect(clippy::unused_async, unused_variables, reason = "without a broker there is nobody to connect to")
)]
async fn connect(http: &HttpClient, endpoint: &Endpoint) -> Result<Arc<dyn Client>, Failure> {
    #[cfg(feature = "redis")]
    if endpoint.kind == BrokerKind::Redis {
        return Ok(Arc::new(redis::Redis::connect(http, endpoint).await?));
    }
    #[cfg(feature = "rabbitmq")]
    if endpoint.kind == BrokerKind::RabbitMq {
        return Ok(Arc::new(rabbitmq::RabbitMq::connect(http, endpoint).await?));
    }
    #[cfg(feature = "nats")]
    if endpoint.kind == BrokerKind::Nats {
        return Ok(Arc::new(nats::Nats::connect(http, endpoint).await?));
    }
    Err(Failure::NotBuilt(endpoint.kind.as_str()))
}
