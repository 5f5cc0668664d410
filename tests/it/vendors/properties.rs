//! Only the exact bytes pass, and nothing panics.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::{prelude::*, sample::Index};
use sluice::vendors::{NAMES, Verified};

use super::{Delivery, Setup};

static SETUPS: LazyLock<Vec<(Setup, Delivery)>> = LazyLock::new(|| {
    Setup::all()
        .map(|(_, setup)| {
            let delivery = setup.sample("smpl0001", setup.now);
            (setup, delivery)
        })
        .collect()
});

/// Headers that the signature does not cover, each for a reason that its vendor's module gives.
const UNSIGNED: [&str; 10] = [
    "content-type",
    "x-event-id",
    "x-github-event",
    "x-github-delivery",
    "x-shopify-topic",
    "x-shopify-webhook-id",
    "x-shopify-api-version",
    "x-shopify-shop-domain",
    "linear-delivery",
    "linear-event",
];

#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Insert(Index, u8),
    Delete(Index),
    Truncate(Index),
    Double,
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            (any::<Index>(), 1..=255_u8).prop_map(|(at, bits)| Self::Flip(at, bits)),
            (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Self::Insert(at, byte)),
            any::<Index>().prop_map(Self::Delete),
            any::<Index>().prop_map(Self::Truncate),
            Just(Self::Double),
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
        }
        bytes
    }
}

/// A form's fields as Twilio signs them: sorted, and with nothing between a name and its value.
fn fields(body: &[u8]) -> String {
    let mut fields: Vec<_> = url::form_urlencoded::parse(body).into_owned().collect();
    fields.sort();
    fields.dedup();
    fields.into_iter().map(|(name, value)| name + &value).collect()
}

fn header() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    let names: Vec<HeaderName> =
        SETUPS.iter().flat_map(|(_, delivery)| delivery.headers.keys().cloned().collect::<Vec<_>>()).collect();
    let value = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        "(v1|v0|v1a|v2|sha256|t)[,=]([0-9a-f]{64}|[A-Za-z0-9+/]{43}=|[ ,=0-9a-f]{0,80})".prop_map(String::into_bytes),
        "[0-9]{0,14}".prop_map(String::into_bytes),
        Just(b"1700000000".to_vec()),
    ];
    (proptest::sample::select(names), value)
        .prop_filter_map("no header value", |(name, value)| Some((name, HeaderValue::from_bytes(&value).ok()?)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_changed_body_never_verifies(vendor in 0..NAMES.len(), change in Change::any()) {
        let (setup, delivery) = &SETUPS[vendor];
        let body = change.apply(&delivery.body);
        let same = body == delivery.body || NAMES[vendor] == "twilio" && fields(&body) == fields(&delivery.body);
        prop_assume!(!same);
        let changed = Delivery { body, ..delivery.clone() };
        prop_assert!(setup.verify(&changed).is_err(), "{}: {:?}", NAMES[vendor], change);
    }

    #[test]
    fn a_changed_signed_header_never_verifies(vendor in 0..NAMES.len(), which in any::<Index>(), change in Change::any()) {
        let (setup, delivery) = &SETUPS[vendor];
        let signed: Vec<_> = delivery
            .headers
            .iter()
            .filter(|(name, _)| !UNSIGNED.contains(&name.as_str()) && *name != "paypal-cert-url")
            .collect();
        let (name, value) = signed[which.index(signed.len())];
        let bytes = change.apply(value.as_bytes());
        prop_assume!(bytes != value.as_bytes());
        let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
        let mut changed = delivery.clone();
        changed.headers.insert(name.clone(), value);
        prop_assert!(setup.verify(&changed).is_err(), "{} {}: {:?}", NAMES[vendor], name, change);
    }

    #[test]
    fn a_changed_url_never_verifies_where_it_is_signed(change in Change::any()) {
        for (setup, delivery) in SETUPS.iter().filter(|(setup, _)| setup.vendor.profile().signs_url) {
            let Ok(url) = String::from_utf8(change.apply(delivery.url.as_bytes())) else { continue };
            // Twilio signs with and without the port.
            if url != delivery.url && !url.contains(":443") && !url.contains("com:/") {
                let changed = Delivery { url, ..delivery.clone() };
                prop_assert!(setup.verify(&changed).is_err(), "{}: {}", setup.vendor.name(), changed.url);
            }
        }
    }

    #[test]
    fn arbitrary_requests_are_refused_without_a_panic(
        vendor in 0..NAMES.len(),
        headers in proptest::collection::vec(header(), 0..8),
        keep in any::<bool>(),
        body in proptest::collection::vec(any::<u8>(), 0..60),
        url in ".{0,30}",
    ) {
        let (setup, delivery) = &SETUPS[vendor];
        let mut map = if keep { delivery.headers.clone() } else { HeaderMap::new() };
        map.extend(headers);
        let request = Delivery { method: Method::POST, url, headers: map, body, now: setup.now };
        prop_assert!(setup.verify(&request).is_err());
        let _ = setup.vendor.offered_secret(&request.request());
        let _ = setup.vendor.get_handshake(&request.request(), &setup.keys);
        let _ = setup.vendor.success_answer(&request.request());
    }

    #[test]
    fn whatever_verified_is_read_without_a_panic(
        vendor in 0..NAMES.len(),
        raw in proptest::collection::vec(any::<u8>(), 0..60),
        change in Change::any(),
        genuine in any::<bool>(),
        signed in any::<bool>(),
    ) {
        let (setup, delivery) = &SETUPS[vendor];
        let body = if genuine { change.apply(&delivery.body) } else { raw };
        let changed = Delivery { body, ..delivery.clone() };
        let verified = Verified { key: 0, signed_at: signed.then_some(setup.now) };
        let _ = setup.vendor.read(&changed.request(), &verified, &setup.keys);
        let _ = setup.vendor.success_answer(&changed.request());
    }
}
