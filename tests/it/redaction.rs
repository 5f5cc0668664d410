//! Planted personal data and secrets are found in nothing that is stored, for every vendor; ids and
//! times stay as they are; redacting twice is redacting once.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sluice::{
    config::{Access, Keys, Off, PiiPattern, RedactMethod, RedactRule, Source},
    ingest::{EventStatus, NewEvent, prepare},
    redact::{self, Redactor, pointer},
    schema::Drift,
    trace::{DeliveryTrace, Untraced},
    vendors::{self, OnConflict, Reading, Request, Vendor, Verified},
};
use sluice_actors::{
    domain::{LaneKey, Timestamp},
    ports::{BreakerPolicy, Rate},
};

const ALL: [PiiPattern; 5] =
    [PiiPattern::Secret, PiiPattern::Card, PiiPattern::Email, PiiPattern::Phone, PiiPattern::Iban];

/// What must not be found, in lowercase. Each is planted in several spellings.
const CANARIES: [&str; 17] = [
    "canary.example",
    "4111111111111111",
    "4111 1111 1111 1111",
    "5500-0000-0000-0004",
    "gb82west12345698765432",
    "gb82 west",
    "4915112345678",
    "415) 555",
    "canaryhunter",
    "sk-canary",
    "ghp_canary",
    "canarypem",
    "eyjhbgcioi",
    "4111+1111",
    "4111%20",
    "4.111111111111111e15",
    "akiacanary",
];

/// Fields, as raw JSON, that hold the canaries.
const PLANTED: &str = r#"
    "note": "write to ada@canary.example or ada\u0040canary.example, card 4111 1111 1111 1111",
    "n\u006fte2": "mailto:ada%40canary.example?x=1 \u0034111111111111111 5500-0000-0000-0004",
    "deep": [{"deeper": {"text": "IBAN GB82 WEST 1234 5698 7654 32 or GB82WEST12345698765432"}}],
    "as_text": "{\"mail\": \"ada\\u0040canary.example\", \"password\": \"canaryhunter2\", \"id\": \"x1\"}",
    "call": "+49 151 12345678 or +4915112345678 or +1 (415) 555-2671",
    "password": "canaryhunter2",
    "pairs": [{"name": "X-Api-Key", "value": "canaryhunter8"}, {"propertyName": "mobilephone", "propertyValue": "(415) 555-2671"}],
    "auth_token": {"value": "canaryhunter2", "list": ["canaryhunter3", 5]},
    "log": "failed: password=canaryhunter4 token: canaryhunter5 Authorization: Bearer canaryhunter6abc",
    "dsn": "postgres://app:canaryhunter7@db.internal/x",
    "keys": "sk-canaryAAAAAAAAAAAAAAAAAAAA ghp_canaryAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "user_id": "ada@canary.example",
    "token_id": "sk-canaryAAAAAAAAAAAAAAAAAAAA",
    "pan": 4111111111111111,
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "pem": "-----BEGIN PRIVATE KEY-----\nCANARYPEM\n-----END PRIVATE KEY-----",
    "ada@canary.example": "a key",
    "link": "https://x.example/?mail=ada%2540canary.example&card=4111%201111%201111%201111&c=4111+1111+1111+1111",
    "markup": "ada&#x40;canary.example ada&amp;#64;canary.example tel &#43;4915112345678",
    "trace": "{\\\"password\\\": \\\"canaryhunter11\\\", broken",
    "buried": BURIED,
    "password2": "canaryhunter12",
    "passwords": ["canaryhunter13"],
    "presigned": "https://s3.example/x?X-Amz-Signature=canaryhunter14",
    "charges": [4111111111111111.0, 4.111111111111111e15, -4111111111111111],
    "expires": "sk-canaryAAAAAAAAAAAAAAAAAAAA",
    "seen_at": "AKIACANARYAAAAAAAAAA",
"#;

/// JSON in a text in a text, deeper than is opened.
fn planted() -> String {
    let buried = (0..7)
        .fold(r#"{"note": "password canaryhunter15", "mail": "ada@canary.example"}"#.to_owned(), |inner, _| {
            json!({ "inner": inner }).to_string()
        });
    PLANTED.replace("BURIED", &Value::from(buried).to_string())
}

fn source(vendor: Arc<dyn Vendor>) -> Source {
    let minute = std::time::Duration::from_secs(60);
    let rate = Rate { per_second: 10.0, burst: 10 };
    Source {
        lane: LaneKey::new("acme".parse().unwrap(), "source".parse().unwrap()),
        enabled: true,
        off: Off::default(),
        keys: Keys::default(),
        staleness: Vec::new(),
        tolerance: vendor.profile().tolerance,
        on_conflict: OnConflict::Ignore,
        replay_guard: true,
        await_handshake: false,
        continue_trace: false,
        uploads: false,
        redact: Vec::new(),
        redact_patterns: ALL.to_vec(),
        redact_key: None,
        schemas: Vec::new(),
        access: Access::default(),
        limits: sluice::config::SourceLimits {
            inbound: rate,
            outbound: rate,
            concurrency: 1,
            pending: 1,
            max_body: 1 << 20,
            breaker: BreakerPolicy {
                failures: 5,
                ratio: 0.5,
                min_calls: 10,
                window: minute,
                cooldown: minute,
                max_cooldown: minute,
                ramp: minute,
            },
        },
        routes: Vec::new(),
        vendor,
    }
}

fn prepared(source: &Source, envelopes: Vec<vendors::Envelope>, raw: Vec<u8>, headers: &HeaderMap) -> Vec<NewEvent> {
    let drift = Drift::default();
    let delivery = prepare::Delivery {
        raw: Bytes::from(raw),
        headers,
        received_at: Timestamp::from_secs(1_795_507_200),
        signed_at: None,
        secret_version: "env:KEY".into(),
        trace: DeliveryTrace::of(&HeaderMap::new(), false, &Untraced),
        drift: &drift,
    };
    prepare::prepare_all(source, envelopes, &delivery)
}

fn stored_text(event: &NewEvent) -> String {
    let form = event.form.as_ref().map_or("", |form| form.json.as_str());
    let reason = event.quarantine_reason.as_deref().unwrap_or_default();
    let raw = String::from_utf8_lossy(&event.raw);
    let decoded: String = url::form_urlencoded::parse(&event.raw).map(|(_, value)| value + "\n").collect();
    let subject = event.subject_id.as_deref().unwrap_or_default();
    format!("{raw}\n{decoded}\n{}\n{form}\n{reason}\n{subject}\n{}", event.headers, event.external_id)
}

#[test]
fn planted_secrets_and_personal_data_are_in_nothing_that_is_stored() {
    let mut seen = 0;
    for name in vendors::NAMES {
        let Some(Ok(vendor)) = vendors::build(name, &toml::Table::new()) else { continue };
        let now = Timestamp::from_secs(1_795_507_200);
        let sample = vendor.sample("1", now);
        let text = String::from_utf8(sample.body).unwrap();
        let body = if redact::read_stored(text.as_bytes()).is_some() && text.starts_with(['{', '[']) {
            text.replacen('{', &format!("{{{}", planted()), 1)
        } else {
            let planted: Value = serde_json::from_str(&format!("{{{}\"x\": 1}}", planted())).unwrap();
            let fields = planted.as_object().unwrap().iter();
            let mut form = url::form_urlencoded::Serializer::new(text);
            form.extend_pairs(
                fields
                    .map(|(key, value)| (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))),
            );
            form.finish()
        };

        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", sample.content_type),
            ("authorization", "Bearer canaryhunter8"),
            ("cookie", "session=canaryhunter9"),
            ("x-api-key", "canaryhunter10"),
            ("user-agent", "agent/1 (ada@canary.example)"),
            ("x-forwarded-for", "192.0.2.1, canary.example"),
            ("x-event-id", "ada@canary.example"),
            ("x-github-event", "push"),
            ("x-github-delivery", "d1"),
            ("x-shopify-topic", sample.event_type),
            ("x-shopify-webhook-id", "w1"),
            ("linear-delivery", "l1"),
            ("webhook-id", "wh_1"),
            ("svix-id", "msg_1"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let request =
            Request { method: &Method::POST, url: "https://x.example/", headers: &headers, body: body.as_bytes(), now };
        let verified = Verified { key: 0, signed_at: Some(now) };
        let envelopes = match vendor.read(&request, &verified, &[]) {
            Ok(Reading::Events(envelopes)) => envelopes,
            other => panic!("{name}: {other:?}"),
        };
        for event in prepared(&source(vendor.clone()), envelopes, body.clone().into_bytes(), &headers) {
            let stored = stored_text(&event).to_lowercase();
            for canary in CANARIES {
                assert!(!stored.contains(canary), "{name}: {canary} in {stored}");
            }
            assert!(event.redacted, "{name}");
            assert_ne!(event.status, EventStatus::Quarantined, "{name}: {:?}", event.quarantine_reason);
            // What is stored can be normalised anew, to the same form.
            let again = prepare::renormalise(&source(vendor.clone()), &event.event_type, &event.raw).unwrap();
            assert_eq!(again.misfit, None, "{name}");
            assert_eq!(again.form.json, event.form.unwrap().json, "{name}");
        }
        seen += 1;
    }
    assert!(seen >= 14, "only {seen} vendors");
}

#[test]
fn ids_and_times_are_left_alone() {
    let untouched = json!({
        "id": "4111111111111111",
        "order_id": 4_111_111_111_111_111_u64,
        "customerId": "+4915112345678",
        "MessageSid": "SM4111111111111111aaaaaaaaaaaaaaaa",
        "sha": "6dcb09b5b57875f334f61aebed695e2e4193db5e",
        "uuid": "41111111-1111-1111-8111-111111111111",
        "reference": "41111111-1111-1111-8111-111111111111",
        "created": 1_795_507_200,
        "created_at": "2026-11-24T08:00:00+00:00",
        "event_ts": "1795507200.000100",
        "updatedAt": "2026-11-24T08:00:00.000Z",
        "Timestamp": "Tue, 24 Nov 2026 08:00:00 +0000",
        "when": 1_795_507_200_000_i64,
        "text": "from 2026-11-24T08:00:00+00:00 to 1795507200000, order 820982911946154508, v1.2.3-4",
        "subject": "evt_1NG8Du2eZvKYlo2CUI79vXWy in_1NG8Du2eZvKYlo2C",
        "url": "https://example.com:8443/a/b?page=2&sort=asc",
        "prompt_tokens": 1200,
        "next_page_token": "abc",
        "amount": 4900,
    });
    let mut value = untouched.clone();
    let redactor = Redactor::new("acme", &[], &ALL, b"");
    assert!(!redactor.value(&mut value), "{value:#}");
    assert_eq!(value, untouched);
}

#[test]
fn untouched_bytes_stay_as_they_came() {
    let raw = b" {\"b\": 1.0,\t\"a\" : \"x\\u0041\"}\n";
    let mut payload = redact::read_stored(raw).unwrap();
    assert_eq!(Redactor::new("acme", &[], &ALL, b"").payload(&mut payload, raw), None);
    let form = b"b=2&a=1+x&b=3";
    let mut payload = redact::read_stored(form).unwrap();
    assert_eq!(Redactor::new("acme", &[], &ALL, b"").payload(&mut payload, form), None);
}

#[test]
fn rules_drop_mask_and_hash_where_they_point() {
    let rule = |path: &str, method| RedactRule { pointer: pointer::split(path), method };
    let rules = [
        rule("/items/*/price", RedactMethod::Drop),
        rule("/name", RedactMethod::Mask),
        rule("/customer", RedactMethod::Hash),
        rule("/count", RedactMethod::Hash),
    ];
    let of = |tenant, secret| {
        let mut value =
            json!({"items": [{"price": 1, "sku": "a"}, {"sku": "b"}], "name": "Ada", "customer": "c1", "count": 7});
        assert!(Redactor::new(tenant, &rules, &[], secret).value(&mut value));
        value
    };
    let value = of("acme", b"0123456789abcdef");
    assert_eq!(value["items"], json!([{"sku": "a"}, {"sku": "b"}]));
    assert_eq!(value["name"], "[redacted]");
    let digest = value["customer"].as_str().unwrap();
    assert!(digest.starts_with("[hash:") && digest.len() == 39, "{digest}");
    assert_eq!(value, of("acme", b"0123456789abcdef"));
    assert_ne!(value["customer"], of("other", b"0123456789abcdef")["customer"]);
    assert_ne!(value["customer"], of("acme", b"another secret!!")["customer"]);
    // Without a key a digest could be guessed.
    assert_eq!(of("acme", b"")["customer"], "[redacted]");
}

#[test]
fn a_pattern_that_is_off_does_nothing() {
    let text = "ada@canary.example 4111111111111111 +4915112345678";
    assert_eq!(
        Redactor::new("a", &[], &[PiiPattern::Card], b"").text(text),
        "ada@canary.example [redacted] +4915112345678"
    );
    assert_eq!(Redactor::new("a", &[], &[], b"").text(text), text);
}

#[test]
fn a_form_keeps_its_fields_and_hides_what_is_in_its_payload() {
    let raw = b"payload=%7B%22type%22%3A%22block_actions%22%2C%22token%22%3A%22abc%22%7D&extra=hunter";
    let mut payload = redact::read_stored(raw).unwrap();
    let stored = Redactor::new("a", &[], &ALL, b"").payload(&mut payload, raw).unwrap();
    let stored = String::from_utf8(stored).unwrap();
    assert!(!stored.contains("hunter") && !stored.contains("abc"), "{stored}");
    assert_eq!(
        redact::read_stored(stored.as_bytes()).unwrap(),
        json!({"type": "block_actions", "token": "[redacted]"})
    );
}

#[test]
fn hostile_texts_take_linear_time() {
    // Each would take minutes if a scan were quadratic in its length.
    let long = 400_000;
    for piece in [
        "a@",
        "a%40",
        "+1",
        "1 ",
        "4111-",
        "password:",
        "-----BEGIN PRIVATE KEY ",
        "eyJaaaaaa.",
        "DE89",
        "://a:",
        "Bearer ",
        "[redacted]",
        "{",
        "%25",
        "\\",
        "&amp;",
        "4111+",
    ] {
        let text = piece.repeat(long / piece.len());
        let _ = redact::text(&text);
        let mut value = json!({"x": text});
        let _ = Redactor::new("a", &[], &ALL, b"").value(&mut value);
    }
}

fn text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "a",
        "Z",
        "7",
        "4111111111111111",
        "4111 1111",
        " ",
        "-",
        "+",
        "@",
        "%40",
        ".",
        "co",
        "a@b.co",
        "password",
        "token",
        "=",
        ":",
        "://",
        "/",
        "[redacted]",
        "[hash:",
        "]",
        "Bearer ",
        "sk-aaaaaaaaaaaaaaaa",
        "\"",
        "\\",
        "\\u0040",
        "%20",
        "%25",
        "&#64;",
        "&amp;",
        "é",
        "+4915112345678",
        "GB82WEST12345698765432",
        "-----BEGIN ",
        "PRIVATE KEY-----",
        "-----END ",
        "eyJhbGciOi.eyJhbGciOi.x",
        "{",
        "}",
        "[",
        ",",
        "\n",
        "&",
        "secret",
        "basic ",
    ]);
    prop_oneof![prop::collection::vec(pieces, 0..14).prop_map(|pieces| pieces.concat()), any::<String>()]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "id",
            "user_id",
            "token",
            "password",
            "created_at",
            "email",
            "phone",
            "note",
            "payload"
        ])
        .prop_map(str::to_owned),
        text(),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner.clone(), 0..5)
                .prop_map(|map| Value::Object(Map::from_iter(map))),
            inner.prop_map(|inner| Value::from(inner.to_string())),
        ]
    })
}

#[test]
fn a_name_that_an_escape_hides_tells_at_once() {
    let redactor = Redactor::new("acme", &[], &ALL, b"");
    // The address makes the key be kept without its escapes; then it ends like a secret's.
    let nested = r#"{"%40+4915112345678 password\u0040":4296796666260053}"#;
    let pair = json!({ "name": r"%40+4915112345678 password\u0040", "value": "hunter2" });
    for mut once in [Value::from(nested), pair] {
        assert!(redactor.value(&mut once));
        assert!(!once.to_string().contains("4296796666260053") && !once.to_string().contains("hunter2"), "{once}");
        let mut twice = once.clone();
        assert!(!redactor.value(&mut twice), "{twice}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn redacting_a_text_twice_is_redacting_it_once(text in text()) {
        let once = redact::text(&text).into_owned();
        prop_assert_eq!(redact::text(&once), once.as_str());
    }

    #[test]
    fn redacting_a_value_twice_is_redacting_it_once(value in value(), hash: bool) {
        let rules = [
            RedactRule { pointer: pointer::split("/*/note"), method: if hash { RedactMethod::Hash } else { RedactMethod::Mask } },
            RedactRule { pointer: pointer::split("/email"), method: RedactMethod::Drop },
        ];
        let redactor = Redactor::new("acme", &rules, &ALL, b"0123456789abcdef");
        let mut once = value;
        redactor.value(&mut once);
        let mut twice = once.clone();
        let changed = redactor.value(&mut twice);
        prop_assert_eq!(&twice, &once);
        prop_assert!(!changed);
    }

    #[test]
    fn a_payload_of_any_bytes_is_redacted_without_a_panic(value in value(), raw: Vec<u8>) {
        let redactor = Redactor::new("acme", &[], &ALL, b"");
        redactor.payload(&mut value.clone(), &raw);
        let mut payload = json!({ "in": value });
        let json = payload.to_string().into_bytes();
        match redactor.payload(&mut payload, &json) {
            Some(stored) => prop_assert_eq!(redact::read_stored(&stored).unwrap_or_default(), payload),
            None => prop_assert_eq!(payload.to_string().into_bytes(), json),
        }
    }
}
