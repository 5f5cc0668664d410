//! `RabbitMQ`: publisher confirms, and the mandatory flag, so that what no queue takes comes back.
//!
//! Each message in flight has a channel of its own: an exchange that is not there closes the channel, and
//! with it would go whatever else waits for its confirmation on it.

use std::{
    future::Future,
    io::{self, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{self, Poll},
    time::Duration,
};

use async_compat::Compat;
use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use async_trait::async_trait;
use lapin::{
    AsyncTcpStream, BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ErrorKind, ExchangeKind,
    options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use super::{Client, Destination, Endpoint, Failure, Message, stream};
use crate::http_client::{CallError, HttpClient};

/// Channels that wait for their next message; more are closed after theirs.
const IDLE_CHANNELS: usize = 16;
/// Bytes of a frame: the crate keeps 64 of them in memory for each connection.
const FRAME: u32 = 32 * 1024;
/// Seconds between two signs of life.
const HEARTBEAT: u16 = 10;
/// How long the end of a connection may take before it is cut.
const GOODBYE: Duration = Duration::from_secs(5);
/// A persistent message: it survives a restart of a broker whose queue does.
const PERSISTENT: u8 = 2;

/// One connection and its channels.
pub(super) struct RabbitMq {
    connection: Connection,
    idle: Mutex<Vec<Channel>>,
    hold: Option<Hold>,
}

/// Lets go of the stream when it is dropped: the crate's thread would wait for a silent broker for ever.
type Hold = oneshot::Sender<()>;

impl RabbitMq {
    pub(super) async fn connect(http: &HttpClient, endpoint: &Endpoint) -> Result<Self, Failure> {
        let (hold, held) = oneshot::channel();
        let stream = Held { stream: stream::dial(http, endpoint).await?, held: Some(held) };
        let stream = Mutex::new(Some(stream));
        let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
        let uri = AMQPUri {
            scheme: AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: or(&endpoint.user, "guest"),
                    password: or(&endpoint.password, "guest"),
                },
                host: endpoint.host.clone(),
                port: endpoint.port,
            },
            vhost: or(&endpoint.path, "/"),
            query: AMQPQueryString { frame_max: Some(FRAME), heartbeat: Some(HEARTBEAT), ..AMQPQueryString::default() },
        };
        let runtime = Runtime::new(RuntimeParts::new(Tokio::current(), Dialled(Tokio::current())));
        // It connects once, and only with this stream: there is nothing that could reconnect.
        let open = async move |_, _| {
            let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            stream.map(|stream| AsyncTcpStream::Plain(Compat::new(stream))).ok_or_else(|| gone().into())
        };
        let options = ConnectionProperties::default().with_connection_name("sluice".into());
        let connection = Connection::connector(uri, runtime, open, options).await;
        let connection = connection.map_err(|error| on_connect(&error))?;
        Ok(Self { connection, idle: Mutex::default(), hold: Some(hold) })
    }

    async fn channel(&self) -> Result<Channel, Failure> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(channel) = idle.filter(|channel| channel.status().connected()) {
            return Ok(channel);
        }
        let channel = self.connection.create_channel().await.map_err(|error| failure(&error))?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(|error| failure(&error))?;
        Ok(channel)
    }

    fn keep(&self, channel: Channel) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CHANNELS && channel.status().connected() {
            idle.push(channel);
        }
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        // The crate says goodbye by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let hold = self.hold.take();
        runtime.spawn(async move {
            tokio::time::sleep(GOODBYE).await;
            drop(hold);
        });
    }
}

#[async_trait]
impl Client for RabbitMq {
    async fn publish(&self, message: &Message) -> Result<Value, Failure> {
        let Destination::RabbitMq { exchange, routing_key } = &message.destination else {
            return Err(Failure::Unroutable("this is RabbitMQ"));
        };
        let channel = self.channel().await?;
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (to, key) = (short(exchange)?, short(routing_key)?);
        let sent = channel.basic_publish(to, key, options, &message.body, properties(message)?).await;
        let confirmed = sent.map_err(|error| failure(&error))?.await.map_err(|error| failure(&error))?;
        self.keep(channel);
        match confirmed {
            Confirmation::Ack(None) => Ok(json!({ "exchange": exchange, "routing_key": routing_key })),
            Confirmation::Ack(Some(_)) => Err(Failure::Unroutable("no queue takes it")),
            Confirmation::Nack(_) => Err(Failure::NotTaken("a queue is full, or could not keep it")),
            Confirmation::NotRequested => Err(Failure::Call(CallError::Broken)),
        }
    }

    async fn look(&self, destination: &Destination) -> Result<&'static str, Failure> {
        let Destination::RabbitMq { exchange, .. } = destination else {
            return Err(Failure::Unroutable("this is RabbitMQ"));
        };
        if exchange.is_empty() {
            return Ok("it lets us in");
        }
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let channel = self.connection.create_channel().await.map_err(|error| failure(&error))?;
        let declared = channel.exchange_declare(short(exchange)?, ExchangeKind::Direct, options, FieldTable::default());
        declared.await.map_err(|error| failure(&error))?;
        Ok("the exchange is there")
    }

    fn is_open(&self) -> bool {
        self.connection.status().connected()
    }
}

fn gone() -> io::Error {
    io::Error::from(io::ErrorKind::NotConnected)
}

/// A stream that ends when its [`Hold`] does.
struct Held {
    stream: Box<dyn stream::Stream>,
    held: Option<oneshot::Receiver<()>>,
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let is_held = self.held.as_mut().is_some_and(|held| Pin::new(held).poll(cx).is_pending());
        if !is_held {
            self.held = None;
            return Poll::Ready(Err(gone()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn short(text: &str) -> Result<ShortString, Failure> {
    ShortString::try_new(text).map_err(|_| Failure::TooLarge)
}

fn properties(message: &Message) -> Result<BasicProperties, Failure> {
    let mut headers = FieldTable::default();
    for (name, value) in &message.headers {
        headers.insert(short(name)?, AMQPValue::LongString(value.as_str().into()));
    }
    Ok(BasicProperties::default()
        .with_message_id(short(&message.event_id)?)
        .with_type(short(&message.event_type)?)
        .with_timestamp(u64::try_from(message.occurred_at.as_secs()).unwrap_or(0))
        .with_app_id("sluice".into())
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers))
}

/// What an error before the connection was open means: who is refused is told so then.
fn on_connect(error: &lapin::Error) -> Failure {
    match error.kind() {
        ErrorKind::ProtocolError(error) if error.get_id() == 403 => Failure::Credentials,
        ErrorKind::ProtocolError(error) if matches!(error.get_id(), 402 | 530) => {
            Failure::Forbidden("enter that virtual host")
        }
        _ => Failure::Call(CallError::Connect("connection closed during the handshake")),
    }
}

fn failure(error: &lapin::Error) -> Failure {
    match error.kind() {
        ErrorKind::ProtocolError(error) => of_reply(error.get_id(), error.get_message().as_str()),
        ErrorKind::ChannelsLimitReached => Failure::NotTaken("too many channels are open"),
        _ => Failure::Call(CallError::Broken),
    }
}

/// What the code means with which it closes a channel or the connection (AMQP 0.9.1, reply-code).
fn of_reply(code: u16, text: &str) -> Failure {
    match code {
        403 => Failure::Forbidden("write to that exchange"),
        404 => Failure::Unroutable("there is no such exchange"),
        311 => Failure::TooLarge,
        406 if text.contains("message size") => Failure::TooLarge,
        405 | 406 | 506 => Failure::NotTaken("it refuses such a message now"),
        _ => Failure::Call(CallError::Broken),
    }
}

/// Tokio's reactor, for a connection that is there already.
#[derive(Clone, Debug)]
struct Dialled(Tokio);

impl Reactor for Dialled {
    type TcpStream = Compat<Held>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl futures_io::AsyncRead + futures_io::AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, dur: Duration) -> Self::Sleep {
        self.0.sleep(dur)
    }

    fn interval(&self, dur: Duration) -> impl futures_util::Stream<Item = std::time::Instant> + Send + 'static {
        self.0.interval(dur)
    }

    fn tcp_connect_addr(
        &self,
        _addr: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        std::future::ready(Err(gone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_reply_codes() {
        let table = [
            (311, "CONTENT_TOO_LARGE", Failure::TooLarge),
            (320, "CONNECTION_FORCED - broker forced connection closure", Failure::Call(CallError::Broken)),
            (403, "ACCESS_REFUSED - …", Failure::Forbidden("write to that exchange")),
            (404, "NOT_FOUND - no exchange 'PLANTED'", Failure::Unroutable("there is no such exchange")),
            (405, "RESOURCE_LOCKED", Failure::NotTaken("it refuses such a message now")),
            (406, "PRECONDITION_FAILED - message size 9 is larger than configured max size 8", Failure::TooLarge),
            (406, "PRECONDITION_FAILED - PLANTED", Failure::NotTaken("it refuses such a message now")),
            (501, "FRAME_ERROR", Failure::Call(CallError::Broken)),
            (506, "RESOURCE_ERROR", Failure::NotTaken("it refuses such a message now")),
            (541, "INTERNAL_ERROR", Failure::Call(CallError::Broken)),
        ];
        for (code, text, expected) in table {
            assert_eq!(of_reply(code, text), expected, "{code} {text}");
        }
    }
}
