//! Only the exact bytes pass, through the whole of receiving.

use proptest::{prelude::*, sample::Index};

use super::*;

#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Insert(Index, u8),
    Delete(Index),
    Truncate(Index),
    Double,
    Other(Vec<u8>),
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            (any::<Index>(), 1..=255_u8).prop_map(|(at, bits)| Self::Flip(at, bits)),
            (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Self::Insert(at, byte)),
            any::<Index>().prop_map(Self::Delete),
            any::<Index>().prop_map(Self::Truncate),
            Just(Self::Double),
            proptest::collection::vec(any::<u8>(), 0..80).prop_map(Self::Other),
        ]
    }

    fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match self {
            Self::Flip(at, bits) => {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            Self::Insert(at, byte) => bytes.insert(at.index(bytes.len() + 1), *byte),
            Self::Delete(at) => {
                bytes.remove(at.index(bytes.len()));
            }
            Self::Truncate(at) => bytes.truncate(at.index(bytes.len())),
            Self::Double => bytes.extend_from_within(..),
            Self::Other(other) => other.clone_into(&mut bytes),
        }
        bytes
    }
}

/// What is changed of a request: its body, or one of its signed headers.
#[derive(Debug, Clone)]
enum Part {
    Body,
    Header(Index),
}

const SOURCES: [(&str, &str, &[&str]); 3] = [
    ("app", "app-secret", &["x-signature", "x-timestamp"]),
    ("pay", "whsec_test_pay_secret", &["stripe-signature"]),
    ("bot", BOT_SEED, &["x-signature-ed25519", "x-signature-timestamp"]),
];

fn sample(source: &str) -> String {
    match source {
        "app" => body(1),
        "pay" => r#"{"id":"evt_1","object":"event","type":"charge.succeeded","created":1767268740,"livemode":false,"pending_webhooks":1,"data":{"object":{"id":"ch_1","object":"charge"}}}"#.into(),
        _ => r#"{"version":1,"application_id":"1","type":1,"event":{"type":"APPLICATION_AUTHORIZED","timestamp":"2026-01-01T11:59:00Z","data":{}}}"#.into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_changed_of_a_delivery_it_is_not_taken(
        source in 0..SOURCES.len(),
        part in prop_oneof![Just(Part::Body), any::<Index>().prop_map(Part::Header)],
        changes in proptest::collection::vec(Change::any(), 1..3),
    ) {
        let (source, key, signed) = SOURCES[source];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let taken = runtime.block_on(async {
            let world = World::new();
            let mut sent = sample(source).into_bytes();
            let mut headers = world.signed_with(source, key, "e1", &sent);
            let (before, good) = (sent.clone(), headers.clone());
            let change = |bytes: &[u8]| changes.iter().fold(bytes.to_vec(), |bytes, change| {
                if bytes.is_empty() { bytes } else { change.apply(&bytes) }
            });
            match part {
                Part::Body => sent = change(&sent),
                Part::Header(which) => {
                    let name = signed[which.index(signed.len())];
                    if let Ok(value) = HeaderValue::from_bytes(&change(headers[name].as_bytes())) {
                        headers.insert(name, value);
                    }
                }
            }
            let same = sent == before && headers == good;
            let reply = world.receive(source, headers, sent).await;
            (same, reply.status.is_success(), world.store.count())
        });
        let (same, success, stored) = taken;
        prop_assert_eq!(success, same);
        prop_assert_eq!(stored == 1, same);
    }
}
