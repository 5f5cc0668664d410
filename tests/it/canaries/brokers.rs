//! Brokers that refuse whoever comes, and say in the refusal all that they were told: passwords too.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::planted::{BROKERS, MARK};

#[derive(Clone, Copy)]
enum Kind {
    Redis,
    RabbitMq,
    Nats,
}

/// Bytes of a short text of AMQP.
const SHORT: usize = 255;
/// Class and method of what is said while a connection of AMQP begins.
const START: [u8; 4] = [0, 10, 0, 10];
const START_OK: [u8; 4] = [0, 10, 0, 11];
const CLOSE: [u8; 4] = [0, 10, 0, 50];
/// `ACCESS_REFUSED`.
const REFUSED: [u8; 2] = 403_u16.to_be_bytes();

/// One of each kind; they end with the test's runtime.
#[derive(Clone)]
pub(super) struct Brokers {
    /// Of Redis, `RabbitMQ` and NATS.
    ports: [u16; 3],
    told: Arc<Mutex<Vec<u8>>>,
}

impl Brokers {
    pub(super) async fn start() -> Self {
        let told = Arc::default();
        let ports =
            [listen(Kind::Redis, &told).await, listen(Kind::RabbitMq, &told).await, listen(Kind::Nats, &told).await];
        Self { ports, told }
    }

    /// Where they are, and who we are there.
    pub(super) fn urls(&self) -> [String; 3] {
        let [redis, rabbitmq, nats] = [0, 1, 2].map(|n| format!("sluice:{}@127.0.0.1:{}", BROKERS[n], self.ports[n]));
        [format!("redis://{redis}"), format!("amqp://{rabbitmq}"), format!("nats://{nats}")]
    }

    /// Whether one of them was told this.
    pub(super) fn know(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.told.lock().unwrap()).contains(text)
    }
}

async fn listen(kind: Kind, told: &Arc<Mutex<Vec<u8>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let told = told.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(refuse(stream, kind, told.clone()));
        }
    });
    port
}

/// Greets, listens until it was told a password, refuses and hangs up.
async fn refuse(mut stream: TcpStream, kind: Kind, told: Arc<Mutex<Vec<u8>>>) -> Option<()> {
    match kind {
        Kind::Redis => {}
        Kind::RabbitMq => {
            stream.read_exact(&mut [0; b"AMQP\0\0\x09\x01".len()]).await.ok()?;
            let long = |text: &[u8]| [&u32::try_from(text.len()).expect("short").to_be_bytes()[..], text].concat();
            // Version 0.9, no properties of the server, how one signs in, its language.
            let start = [&START[..], &[0, 9], &long(b""), &long(b"PLAIN"), &long(b"en_US")].concat();
            stream.write_all(&frame(&start)).await.ok()?;
        }
        Kind::Nats => {
            let info = r#"{"server_id":"refuser","version":"2.10.0","proto":1,"headers":true,"auth_required":true,"max_payload":65536}"#;
            stream.write_all(format!("INFO {info}\r\n").as_bytes()).await.ok()?;
        }
    }
    let mut said = Vec::new();
    while !said.windows(MARK.len()).any(|window| window == MARK.as_bytes()) {
        if stream.read_buf(&mut said).await.ok()? == 0 {
            return None;
        }
    }
    told.lock().unwrap().extend_from_slice(&said);
    let shown: String =
        said.iter().filter(|byte| matches!(**byte, b' '..=b'~')).map(|byte| char::from(*byte)).collect();
    let refusal = match kind {
        // To each of its questions.
        Kind::Redis => format!("-WRONGPASS {shown}\r\n").repeat(4).into_bytes(),
        Kind::RabbitMq => {
            // What matters comes last.
            let text = &shown[shown.len().saturating_sub(SHORT)..];
            let length = [u8::try_from(text.len()).expect("it was cut")];
            frame(&[&CLOSE[..], &REFUSED, &length, text.as_bytes(), &START_OK].concat())
        }
        Kind::Nats => format!("-ERR '{}'\r\n", shown.replace('\'', " ")).into_bytes(),
    };
    stream.write_all(&refusal).await.ok()?;
    stream.shutdown().await.ok()?;
    // Who hangs up on unread bytes may take back what it said.
    while stream.read_buf(&mut said).await.ok()? > 0 {}
    Some(())
}

/// A method in a frame of channel 0 of AMQP 0.9.1.
fn frame(method: &[u8]) -> Vec<u8> {
    let length = u32::try_from(method.len()).expect("short").to_be_bytes();
    [&[1_u8, 0, 0][..], &length, method, &[0xCE]].concat()
}
