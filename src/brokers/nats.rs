//! NATS: published into a stream of `JetStream`, whose acknowledgement is the confirmation.
//!
//! The crate dials by itself, so it is given the address that was checked, and a verifier that holds the
//! certificate to the name instead.

use std::{sync::Arc, time::Duration};

use async_nats::{
    ConnectErrorKind, ConnectOptions, Event, HeaderMap, HeaderValue, ServerError,
    connection::State,
    jetstream::{
        self, Context,
        context::{GetStreamByNameErrorKind, PublishError, PublishErrorKind},
        message::PublishMessage,
        publish::PublishAck,
    },
};
use async_trait::async_trait;
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::{Client, Destination, Endpoint, Failure, Message, dial};
use crate::http_client::{CONNECT_TIMEOUT, CallError, HttpClient};

/// The header by which a stream knows a message again within its `duplicate_window`.
const MESSAGE_ID: &str = "Nats-Msg-Id";
/// The crate's own wait for an acknowledgement: who publishes has a shorter one.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_mins(1);
/// A question of `look`.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// One connection.
pub(super) struct Nats {
    client: async_nats::Client,
    context: Context,
    /// What the server says of errors, which it does not tie to a message.
    errors: broadcast::Sender<String>,
}

impl Nats {
    pub(super) async fn connect(http: &HttpClient, endpoint: &Endpoint) -> Result<Self, Failure> {
        let address = dial::address(http, endpoint).await?;
        let (errors, _) = broadcast::channel(64);
        let told = errors.clone();
        let mut options = ConnectOptions::new()
            .name("sluice")
            .connection_timeout(CONNECT_TIMEOUT)
            // Others of its cluster would not have been checked.
            .ignore_discovered_servers()
            // Once, at this address; after it we connect anew.
            .max_reconnects(1)
            .ping_interval(Duration::from_secs(10))
            .event_callback(move |event| {
                if let Event::ServerError(ServerError::Other(text)) = event {
                    // `Err`: nobody waits.
                    let _ = told.send(text);
                }
                std::future::ready(())
            });
        options = match (&*endpoint.user, &**endpoint.password) {
            ("", "") => options,
            (token, "") => options.token(token.to_owned()),
            (user, password) => options.user_and_password(user.to_owned(), password.to_owned()),
        };
        if endpoint.tls {
            let verifier = Named { name: dial::name(endpoint)?, verifier: dial::verifier(endpoint)? };
            options = options.require_tls(true).tls_client_config(dial::config(Arc::new(verifier))?);
        }
        let connected = options.connect(format!("nats://{address}")).await;
        let client = connected.map_err(|error| on_connect(error.kind()))?;
        let mut context = jetstream::new(client.clone());
        context.set_timeout(ACKNOWLEDGED_WITHIN);
        Ok(Self { client, context, errors })
    }
}

#[async_trait]
impl Client for Nats {
    async fn publish(&self, message: &Message) -> Result<Value, Failure> {
        let Destination::Nats { subject } = &message.destination else {
            return Err(Failure::Unroutable("this is NATS"));
        };
        let mut headers = HeaderMap::new();
        headers.insert(MESSAGE_ID, message.dedupe.as_str());
        for (name, value) in &message.headers {
            // Checked by who made the message.
            let value: HeaderValue = value.parse().map_err(|_| Failure::TooLarge)?;
            headers.insert(name.as_str(), value);
        }
        let mut errors = self.errors.subscribe();
        let publish = PublishMessage::build().headers(headers).payload(message.body.clone());
        let published = async {
            let sent = self.context.send_publish(subject.clone(), publish).await;
            let acknowledged: PublishAck = sent.map_err(|error| failure(&error))?.await.map_err(|e| failure(&e))?;
            Ok(json!({
                "stream": acknowledged.stream,
                "sequence": acknowledged.sequence,
                "duplicate": acknowledged.duplicate,
            }))
        };
        tokio::select! {
            published = published => published,
            () = forbidden(&mut errors, subject) => Err(Failure::Forbidden("publish to that subject")),
        }
    }

    async fn look(&self, destination: &Destination) -> Result<&'static str, Failure> {
        let Destination::Nats { subject } = destination else {
            return Err(Failure::Unroutable("this is NATS"));
        };
        let asked = tokio::time::timeout(ANSWERED_WITHIN, self.context.stream_by_subject(subject.clone())).await;
        match asked.map(|found| found.map_err(|error| error.kind())) {
            Ok(Ok(_)) => Ok("a stream takes the subject"),
            Ok(Err(GetStreamByNameErrorKind::NotFound)) => Err(Failure::Unroutable(NO_STREAM)),
            Ok(Err(_)) | Err(_) => Ok("it lets us in; whether a stream takes the subject it does not tell"),
        }
    }

    fn is_open(&self) -> bool {
        self.client.connection_state() == State::Connected
    }
}

const NO_STREAM: &str = "no stream takes that subject";

/// Ends when the server says that we may not publish to `subject`; it acknowledges nothing then.
async fn forbidden(errors: &mut broadcast::Receiver<String>, subject: &str) {
    loop {
        match errors.recv().await {
            Ok(text) if is_forbidden(&text, subject) => return,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Whether an error of the server is that we may not publish to this subject.
fn is_forbidden(text: &str, subject: &str) -> bool {
    let text = text.trim_matches(['\'', ' ']);
    text.to_ascii_lowercase().starts_with("permissions violation for publish to")
        && text.contains(&format!("\"{subject}\""))
}

/// What an error before the connection was open means.
fn on_connect(kind: ConnectErrorKind) -> Failure {
    Failure::Call(match kind {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => return Failure::Credentials,
        ConnectErrorKind::TimedOut => CallError::Connect("no answer to the connection attempt"),
        ConnectErrorKind::Tls => CallError::Tls("the handshake failed".to_owned()),
        ConnectErrorKind::ServerParse
        | ConnectErrorKind::Dns
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => CallError::Connect("refused, or closed during the handshake"),
    })
}

fn failure(error: &PublishError) -> Failure {
    match error.kind() {
        PublishErrorKind::StreamNotFound => Failure::Unroutable(NO_STREAM),
        PublishErrorKind::MaxPayloadExceeded => Failure::TooLarge,
        PublishErrorKind::TimedOut => Failure::Call(CallError::Timeout(ACKNOWLEDGED_WITHIN)),
        PublishErrorKind::BrokenPipe => Failure::Call(CallError::Broken),
        PublishErrorKind::MaxAckPending => Failure::NotTaken("too many messages wait for their confirmation"),
        PublishErrorKind::WrongLastMessageId | PublishErrorKind::WrongLastSequence => {
            Failure::NotTaken("it answered with an error")
        }
        PublishErrorKind::Other => {
            let source = std::error::Error::source(error);
            match source.and_then(|source| source.downcast_ref::<jetstream::Error>()) {
                Some(error) => of_code(error.error_code()),
                None => Failure::Call(CallError::Broken),
            }
        }
    }
}

/// What an error of `JetStream` means.
fn of_code(code: jetstream::ErrorCode) -> Failure {
    use jetstream::ErrorCode as Code;
    match code {
        Code::STREAM_MESSAGE_EXCEEDS_MAXIMUM => Failure::TooLarge,
        Code::JETSTREAM_NOT_ENABLED | Code::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            Failure::Unroutable("JetStream is not enabled")
        }
        Code::STREAM_STORE_FAILED => Failure::NotTaken("the stream is full, or cannot be written"),
        Code::INSUFFICIENT_RESOURCES | Code::STORAGE_RESOURCES_EXCEEDED => Failure::NotTaken("its storage is full"),
        _ => Failure::NotTaken("it answered with an error"),
    }
}

/// Holds a certificate to a name, whatever address was dialled.
#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    verifier: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_errors_of_a_stream() {
        let table = [
            (10_054, Failure::TooLarge),
            (10_076, Failure::Unroutable("JetStream is not enabled")),
            (10_039, Failure::Unroutable("JetStream is not enabled")),
            (10_077, Failure::NotTaken("the stream is full, or cannot be written")),
            (10_023, Failure::NotTaken("its storage is full")),
            (10_047, Failure::NotTaken("its storage is full")),
            (10_999, Failure::NotTaken("it answered with an error")),
        ];
        for (code, expected) in table {
            assert_eq!(of_code(jetstream::ErrorCode(code)), expected, "{code}");
        }
    }

    #[test]
    fn the_table_of_errors_of_connecting() {
        use ConnectErrorKind as Kind;
        for kind in [Kind::Authentication, Kind::AuthorizationViolation] {
            assert_eq!(on_connect(kind), Failure::Credentials);
        }
        for kind in [Kind::TimedOut, Kind::Io, Kind::Dns, Kind::ServerParse, Kind::MaxReconnects] {
            assert!(matches!(on_connect(kind), Failure::Call(CallError::Connect(_))), "{kind:?}");
        }
        assert!(matches!(on_connect(Kind::Tls), Failure::Call(CallError::Tls(_))));
    }

    #[test]
    fn a_refusal_is_known_by_its_subject() {
        let text = "Permissions Violation for Publish to \"orders.a\"";
        assert!(is_forbidden(text, "orders.a"));
        assert!(is_forbidden(&format!("'{text}'"), "orders.a"));
        assert!(!is_forbidden(text, "orders"));
        assert!(!is_forbidden("Permissions Violation for Subscription to \"orders.a\"", "orders.a"));
        assert!(!is_forbidden("Stale Connection", "orders.a"));
    }
}
