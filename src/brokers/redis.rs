//! Redis Streams: `XADD`. Its reply is the confirmation; how durable that makes the message is the server's
//! `appendonly` and `appendfsync`.

use async_trait::async_trait;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, RedisResult, aio::MultiplexedConnection,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Client, Destination, Endpoint, Failure, Message, stream};
use crate::http_client::{CallError, HttpClient};

/// One connection, on which answers come in the order of questions.
pub(super) struct Redis {
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
    /// The largest value that it takes, if it tells.
    largest: Option<usize>,
}

impl Redis {
    pub(super) async fn connect(http: &HttpClient, endpoint: &Endpoint) -> Result<Self, Failure> {
        let stream = stream::dial(http, endpoint).await?;
        let mut who = RedisConnectionInfo::default();
        who = who.set_db(endpoint.path.parse().unwrap_or(0));
        if !endpoint.user.is_empty() {
            who = who.set_username(&endpoint.user);
        }
        if !endpoint.password.is_empty() {
            who = who.set_password(&*endpoint.password);
        }
        // Who publishes has a deadline of its own.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&who, stream, config).await.map_err(|error| failure(&error))?;
        let mut redis = Self { connection, driver: tokio::spawn(driver), largest: None };
        redis.largest = redis.ask_largest().await?;
        Ok(redis)
    }

    /// The largest value that it takes. One that is larger ends the connection, and whatever else is in
    /// flight on it. Managed servers do not tell.
    async fn ask_largest(&self) -> Result<Option<usize>, Failure> {
        const KEY: &str = "proto-max-bulk-len";
        match self.ask::<Vec<String>>(redis::cmd("CONFIG").arg("GET").arg(KEY)).await {
            Ok(answer) => Ok(answer.get(1).and_then(|value| value.parse().ok())),
            Err(error) => match failure(&error) {
                of_connection @ (Failure::Call(_) | Failure::Credentials) => Err(of_connection),
                _ => Ok(None),
            },
        }
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        command.query_async(&mut self.connection.clone()).await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It would go on until everything in flight is answered, which may be never.
        self.driver.abort();
    }
}

#[async_trait]
impl Client for Redis {
    async fn publish(&self, message: &Message) -> Result<Value, Failure> {
        let Destination::Redis { stream, max_len } = &message.destination else {
            return Err(Failure::Unroutable("this is Redis"));
        };
        if self.largest.is_some_and(|largest| message.body.len() > largest) {
            return Err(Failure::TooLarge);
        }
        let mut command = redis::cmd("XADD");
        command.arg(stream);
        if let Some(max_len) = max_len {
            command.arg("MAXLEN").arg("~").arg(*max_len);
        }
        command.arg("*");
        for (name, value) in &message.headers {
            command.arg(name).arg(value);
        }
        command.arg("body").arg(&message.body[..]);
        let id: String = self.ask(&command).await.map_err(|error| failure(&error))?;
        Ok(json!({ "stream": stream, "id": id }))
    }

    async fn look(&self, destination: &Destination) -> Result<&'static str, Failure> {
        let Destination::Redis { stream, .. } = destination else {
            return Err(Failure::Unroutable("this is Redis"));
        };
        let kind: String = self.ask(redis::cmd("TYPE").arg(stream)).await.map_err(|error| failure(&error))?;
        match &*kind {
            "stream" => Ok("the stream is there"),
            "none" => Ok("the first event will make the stream"),
            _ => Err(Failure::Unroutable(NO_STREAM)),
        }
    }

    fn is_open(&self) -> bool {
        !self.driver.is_finished()
    }
}

const NO_STREAM: &str = "what is under that key is not a stream";

fn failure(error: &RedisError) -> Failure {
    match error.kind() {
        ErrorKind::AuthenticationFailed => Failure::Credentials,
        _ => match error.code() {
            Some(code) => of_reply(code, error.detail().unwrap_or_default()),
            None => Failure::Call(CallError::Broken),
        },
    }
}

/// What an error reply means: its code, and what it says.
fn of_reply(code: &str, detail: &str) -> Failure {
    match code {
        "WRONGPASS" | "NOAUTH" => Failure::Credentials,
        "NOPERM" => Failure::Forbidden("write to that stream"),
        "WRONGTYPE" => Failure::Unroutable(NO_STREAM),
        "MOVED" | "ASK" | "CROSSSLOT" => Failure::Unroutable("the key is on another node of a cluster"),
        "OOM" => Failure::NotTaken("its memory is full"),
        "READONLY" => Failure::NotTaken("it is a replica, which only reads"),
        "LOADING" => Failure::NotTaken("it is still loading its data"),
        "MISCONF" => Failure::NotTaken("it cannot write to its disk"),
        "NOREPLICAS" => Failure::NotTaken("too few replicas are there"),
        "CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN" => Failure::NotTaken("its cluster is not whole"),
        "ERR" if detail.contains("invalid bulk length") => Failure::TooLarge,
        _ => Failure::NotTaken("it answered with an error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_error_replies() {
        let table = [
            ("WRONGPASS", "invalid username-password pair or user is disabled.", Failure::Credentials),
            ("NOAUTH", "Authentication required.", Failure::Credentials),
            ("NOPERM", "this user has no permissions to access …", Failure::Forbidden("write to that stream")),
            ("WRONGTYPE", "Operation against a key holding the wrong kind of value", Failure::Unroutable(NO_STREAM)),
            ("MOVED", "3999 10.0.0.1:6381", Failure::Unroutable("the key is on another node of a cluster")),
            ("OOM", "command not allowed when used memory > 'maxmemory'.", Failure::NotTaken("its memory is full")),
            (
                "READONLY",
                "You can't write against a read only replica.",
                Failure::NotTaken("it is a replica, which only reads"),
            ),
            ("LOADING", "Redis is loading the dataset in memory", Failure::NotTaken("it is still loading its data")),
            ("MISCONF", "Redis is configured to save RDB snapshots", Failure::NotTaken("it cannot write to its disk")),
            ("NOREPLICAS", "Not enough good replicas to write.", Failure::NotTaken("too few replicas are there")),
            ("CLUSTERDOWN", "The cluster is down", Failure::NotTaken("its cluster is not whole")),
            ("ERR", "Protocol error: invalid bulk length", Failure::TooLarge),
            ("ERR", "max number of clients reached", Failure::NotTaken("it answered with an error")),
            ("NEW", "PLANTED", Failure::NotTaken("it answered with an error")),
        ];
        for (code, detail, expected) in table {
            assert_eq!(of_reply(code, detail), expected, "{code} {detail}");
        }
    }
}
