//! Reads what brokers have, as consumers of another program would.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use lapin::{ConnectionProperties, options::BasicGetOptions, types::AMQPValue};

use crate::harness::Broker;

/// One message: headers (of Redis all fields but the body) and body.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: serde_json::Value,
}

impl Received {
    fn new(headers: impl IntoIterator<Item = (String, String)>, body: &[u8]) -> Self {
        Self { headers: headers.into_iter().collect(), body: serde_json::from_slice(body).expect("JSON") }
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or_else(|| panic!("no header `{name}` in {self:?}"), String::as_str)
    }
}

/// Ids and fields.
async fn entries_of_redis(broker: &Broker, stream: &str) -> Vec<(String, Vec<String>)> {
    let client = redis::Client::open(broker.url("redis", "gw")).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let command = redis::cmd("XRANGE").arg(stream).arg("-").arg("+").to_owned();
    command.query_async(&mut connection).await.expect("a range")
}

/// When the messages of a stream came, in milliseconds: Redis says so in their ids.
pub(super) async fn times_of_redis(broker: &Broker, stream: &str) -> Vec<u64> {
    let entries = entries_of_redis(broker, stream).await;
    let time = |id: &str| id.split_once('-').and_then(|(millis, _)| millis.parse().ok());
    entries.iter().map(|(id, _)| time(id).expect("an id of a stream")).collect()
}

pub(super) async fn of_redis(broker: &Broker, stream: &str) -> Vec<Received> {
    let entries = entries_of_redis(broker, stream).await.into_iter().map(|(_, fields)| {
        let mut fields: BTreeMap<_, _> = fields.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        let body = fields.remove("body").expect("a body");
        Received::new(fields, body.as_bytes())
    });
    entries.collect()
}

pub(super) async fn channel_of(broker: &Broker) -> (lapin::Connection, lapin::Channel) {
    let options = ConnectionProperties::default();
    let connection = lapin::Connection::connect(&broker.url("amqp", "gw"), options).await.expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

/// Takes all that a queue has.
pub(super) async fn of_rabbitmq(broker: &Broker, queue: &str) -> Vec<Received> {
    let (_connection, channel) = channel_of(broker).await;
    let mut all = Vec::new();
    let options = BasicGetOptions { no_ack: true };
    while let Some(message) = channel.basic_get(queue.into(), options).await.expect("an answer") {
        let properties = &message.delivery.properties;
        let headers = properties.headers().as_ref().expect("headers").inner().iter();
        let mut headers: BTreeMap<String, String> = headers
            .map(|(name, value)| match value {
                AMQPValue::LongString(text) => (name.to_string(), text.to_string()),
                other => panic!("{other:?}"),
            })
            .collect();
        for (name, value) in [("message_id", properties.message_id()), ("content_type", properties.content_type())] {
            headers.insert(format!("property:{name}"), value.as_ref().expect("a property").to_string());
        }
        headers.insert("property:delivery_mode".into(), properties.delivery_mode().expect("a mode").to_string());
        all.push(Received::new(headers, &message.delivery.data));
    }
    all
}

pub(super) async fn context_of(broker: &Broker) -> async_nats::jetstream::Context {
    let options = async_nats::ConnectOptions::with_user_and_password("gw".into(), crate::harness::PASSWORD.into());
    let client = options.connect(format!("nats://127.0.0.1:{}", broker.port)).await.expect("a connection");
    async_nats::jetstream::new(client)
}

/// Makes a stream of these subjects that takes at most `most` messages.
pub(super) async fn stream(broker: &Broker, name: &str, subjects: &[&str], most: i64) {
    let config = async_nats::jetstream::stream::Config {
        name: name.to_owned(),
        subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        max_messages: most,
        discard: async_nats::jetstream::stream::DiscardPolicy::New,
        ..Default::default()
    };
    context_of(broker).await.create_stream(config).await.expect("a stream");
}

pub(super) async fn of_nats(broker: &Broker, stream: &str) -> Vec<Received> {
    let stream = context_of(broker).await.get_stream(stream).await.expect("the stream");
    let consumer = stream.create_consumer(async_nats::jetstream::consumer::pull::Config::default()).await;
    let messages = consumer.expect("a consumer").fetch().max_messages(100_000).messages().await.expect("messages");
    let received = messages.map(|message| {
        let message = message.expect("a message");
        let headers = message.headers.as_ref().expect("headers").iter();
        let headers =
            headers.map(|(name, values)| (AsRef::<str>::as_ref(name).to_owned(), values[0].as_str().to_owned()));
        Received::new(headers, &message.payload)
    });
    received.collect().await
}
