use http::Method;

use super::*;
use crate::ingest::testing::{NOON, TENANT, config};

const BODY: &str = r#"{ "event_type": "assistant.completed", "n": "a \" b" }"#;

/// A delivery to `acme/app` (generic) that a test changes.
struct Sent {
    source: &'static str,
    tenant: String,
    headers: HeaderMap,
    body: Vec<u8>,
    url: String,
    now: Timestamp,
}

impl Sent {
    /// Signed as the source's vendor does, with `key`.
    fn signed(source: &'static str, key: &[u8], body: &[u8]) -> Self {
        let url = format!("https://hooks.example/webhooks/acme/{source}");
        let sent =
            Self { source, tenant: TENANT.to_owned(), headers: HeaderMap::new(), body: body.to_vec(), url, now: NOON };
        sent.sign_as(source, key)
    }

    fn sign_as(mut self, source: &str, key: &[u8]) -> Self {
        let config = config(&self.tenant);
        let (_, tenant) = config.tenants.first_key_value().expect("a tenant");
        let vendor = tenant.sources[&source.parse().expect("a name")].vendor.clone();
        let outgoing = crate::vendors::Outgoing {
            url: &self.url,
            id: "e1",
            event_type: "assistant.completed",
            now: self.now,
            body: &self.body,
        };
        self.headers = vendor.sign(&outgoing, &Secret::new(key.to_vec())).expect("signed").into_iter().collect();
        self
    }

    fn header(mut self, name: &'static str, change: impl FnOnce(&str) -> String) -> Self {
        let value = change(self.headers[name].to_str().expect("text"));
        self.headers.insert(name, value.parse().expect("a value"));
        self
    }

    fn finding(&self) -> Finding {
        let config = config(&self.tenant);
        let (_, tenant) = config.tenants.first_key_value().expect("a tenant");
        let source = &tenant.sources[&self.source.parse().expect("a name")];
        let request =
            Request { method: &Method::POST, url: &self.url, headers: &self.headers, body: &self.body, now: self.now };
        let keys: Vec<Key> =
            source.keys.iter().filter(|key| key.is_live(self.now)).map(|key| key.key.clone()).collect();
        let refusal = source.vendor.verify(&request, &keys, source.tolerance).expect_err("it is refused");
        let finding = diagnose(&Case { source, tenant: Some(tenant), request, refusal });
        for secret in ["app-secret", "small-secret", "pay_secret", "crm-secret"] {
            assert!(!finding.to_string().contains(secret), "a hint shows no secret");
        }
        finding
    }
}

fn app(key: &[u8]) -> Sent {
    Sent::signed("app", key, BODY.as_bytes())
}

#[test]
fn a_clock_that_differs_is_told_with_its_difference() {
    for (offset, seconds) in [(-1000, 1000), (1000, -1000)] {
        let mut sent = app(b"app-secret");
        sent.now = Timestamp::from_secs(NOON.as_secs() + offset);
        sent = sent.sign_as("app", b"app-secret");
        sent.now = NOON;
        assert_eq!(sent.finding(), Finding::Clock { seconds, tolerance: 300 });
    }
}

#[test]
fn a_body_that_changed_on_the_way_is_told_with_the_change() {
    let signed = |body: &str| Sent::signed("app", b"app-secret", body.as_bytes());
    for (signed_over, arrived, change) in [
        (BODY, format!("{BODY}\n"), BodyChange::NewlineAdded),
        (&format!("{BODY}\n"), BODY.to_owned(), BodyChange::NewlineRemoved),
        ("{\r\n\"a\":1}", "{\n\"a\":1}".to_owned(), BodyChange::LineEndings),
        ("{\n\"a\":1}", "{\r\n\"a\":1}".to_owned(), BodyChange::LineEndings),
        (r#"{"event_type":"assistant.completed","n":"a \" b"}"#, BODY.to_owned(), BodyChange::Minified),
        (BODY, format!("\u{feff}{BODY}"), BodyChange::ByteOrderMark),
        ("", BODY.to_owned(), BodyChange::Empty),
    ] {
        let mut sent = signed(signed_over);
        sent.body = arrived.into_bytes();
        assert_eq!(sent.finding(), Finding::Body(change));
    }
}

#[test]
fn a_signature_written_in_another_way_is_told_with_the_header() {
    let base64 = |hex: &str| STANDARD.encode(hex::decode(hex).expect("hex"));
    let found = |how| Finding::Notation { header: "x-signature".into(), how };
    let sent = || app(b"app-secret");
    assert_eq!(sent().header("x-signature", base64).finding(), found(Notation::Base64ForHex));
    assert_eq!(
        sent().header("x-signature", |hex| format!("sha256={hex}")).finding(),
        found(Notation::PrefixUnexpected)
    );
    let chat = || Sent::signed("chat", b"chat-secret", b"{}");
    assert_eq!(
        chat().header("x-slack-signature", |v0| v0.replace("v0=", "")).finding(),
        Finding::Notation { header: "x-slack-signature".into(), how: Notation::PrefixMissing("v0=") }
    );
}

#[test]
fn a_secret_used_in_another_form_is_told_with_the_form() {
    let (plain, encoded) = (b"app-secret".as_slice(), STANDARD.encode("app-secret"));
    for (key, form) in [
        (format!("whsec_{encoded}").into_bytes(), SecretForm::WhsecText),
        (encoded.into_bytes(), SecretForm::Base64Text),
        (hex::encode(plain).into_bytes(), SecretForm::HexText),
        ([plain, b"\n"].concat(), SecretForm::TrailingNewline),
    ] {
        assert_eq!(app(&key).finding(), Finding::SecretForm(form));
    }
}

#[test]
fn the_secret_of_another_source_or_of_yesterday_is_told_by_its_label() {
    assert_eq!(app(b"small-secret").finding(), Finding::OtherSecret { source: "small".into() });
    let mut late = app(b"app-secret-before");
    late.now = Timestamp::parse_rfc3339("2026-01-03T00:00:00Z").expect("a time");
    let late = late.sign_as("app", b"app-secret-before");
    let ended = Timestamp::parse_rfc3339("2026-01-02T00:00:00Z").expect("a time");
    assert_eq!(late.finding(), Finding::EndedSecret { version: "env:KEY_APP_OLD".into(), ended });
}

#[test]
fn a_delivery_at_the_wrong_url_is_told_with_the_right_source() {
    let sent = app(b"app-secret").sign_as("pay", b"whsec_test_pay_secret");
    assert_eq!(sent.finding(), Finding::OtherSource { source: "pay".into() });
    let foreign = app(b"app-secret").sign_as("pay", b"whsec_of_somebody_else");
    assert_eq!(foreign.finding(), Finding::LooksLike { vendor: "stripe" });
}

#[test]
fn a_signed_url_that_differs_is_told_with_its_origin() {
    let mut sent = Sent::signed("crm", b"crm-secret", b"[]");
    sent.url = "http://old.example/webhooks/acme/crm".into();
    sent = sent.sign_as("crm", b"crm-secret");
    sent.headers.insert(header::HOST, HeaderValue::from_static("old.example"));
    sent.url = "https://hooks.example/webhooks/acme/crm".into();
    assert_eq!(sent.finding(), Finding::Url { origin: "http://old.example".into() });
}

#[test]
fn what_nothing_explains_is_told_as_it_is() {
    assert_eq!(app(b"of nobody").finding(), Finding::Unknown(Refusal::BadSignature));
    let mut bare = app(b"app-secret");
    bare.headers.clear();
    assert_eq!(bare.finding(), Finding::Unknown(Refusal::MissingSignature));
}
