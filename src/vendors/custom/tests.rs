use http::{HeaderMap, Method};
use proptest::prelude::*;

use super::*;
use crate::vendors::asymmetric;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const URL: &str = "https://hooks.example/webhooks/acme/orders";

fn custom(scheme: &str) -> Result<Custom, InvalidOption> {
    let table: toml::Table = format!("[scheme]\n{scheme}").parse().expect("the test's TOML");
    Custom::new(&table)
}

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

fn request<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Request<'a> {
    Request { method: &Method::POST, url: URL, headers, body, now: NOW }
}

#[test]
fn each_mistake_names_its_key() {
    let base = "algorithm = 'hmac-sha256'\nsignature = { header = 'X-Sig', encoding = 'hex' }\n";
    let cases = [
        ("", "scheme.algorithm"),
        ("algorithm = 'md5'", "scheme.algorithm"),
        ("algorithm = 'hmac-sha256'", "scheme.signature"),
        ("algorithm = 'hmac-sha256'\nsignature = 'X-Sig'", "scheme.signature"),
        ("algorithm = 'hmac-sha256'\nsignature = {}", "scheme.signature.header"),
        ("algorithm = 'hmac-sha256'\nsignature = { header = 'X Sig' }", "scheme.signature.header"),
        ("algorithm = 'hmac-sha256'\nsignature = { header = 'X-Sig' }", "scheme.signature.encoding"),
        ("algorithm = 'hmac-sha256'\nsignature = { header = 'X-Sig', encoding = 'HEX' }", "scheme.signature.encoding"),
        ("algorithm = 'hmac-sha256'\nsignature = { header = 'X-Sig', encoding = 'hex', x = 1 }", "scheme.signature.x"),
        (base, "scheme.signed"),
        (&format!("{base}signed = ''"), "scheme.signed"),
        (&format!("{base}signed = '{{timestamp}}'"), "scheme.signed"),
        (&format!("{base}signed = '{{id}}{{body}}'"), "scheme.signed"),
        (&format!("{base}signed = '{{body}}.{{body}}'"), "scheme.signed"),
        (&format!("{base}signed = '{{body}}.{{time}}'"), "scheme.signed"),
        (&format!("{base}signed = '{{body'"), "scheme.signed"),
        (&format!("{base}signed = '{{body}}}}'"), "scheme.signed"),
        (&format!("{base}signed = '{{timestamp}}.{{body}}'"), "scheme.timestamp"),
        (&format!("{base}signed = '{{body}}'\ntimestamp = {{ header = 'X-Time' }}"), "scheme.timestamp"),
        (&format!("{base}signed = '{{body}}'\ntimestamp = {{ pointer = '/t', unit = 'h' }}"), "scheme.timestamp.unit"),
        (&format!("{base}signed = '{{body}}'\ntimestamp = {{ unit = 's' }}"), "scheme.timestamp"),
        (&format!("{base}signed = '{{id}}.{{body}}'"), "scheme.id"),
        (&format!("{base}signed = '{{id}}.{{body}}'\nid = {{ pointer = '/id' }}"), "scheme.id"),
        (&format!("{base}signed = '{{body}}'\nid = {{ pointer = 'id' }}"), "scheme.id.pointer"),
        (&format!("{base}signed = '{{body}}'\nid = {{ pointer = '/id', header = 'X-Id' }}"), "scheme.id.pointer"),
        (&format!("{base}signed = '{{body}}'\ntype = {{}}"), "scheme.type"),
        (&format!("{base}signed = '{{body}}'\ntype = {{ value = '' }}"), "scheme.type.value"),
        (
            &format!("{base}signed = '{{body}}'\nhandshake = {{ query_token = 'a' }}"),
            "scheme.handshake.query_challenge",
        ),
        (
            &format!(
                "{base}signed = '{{body}}'\nhandshake = {{ query_token = 'a', query_challenge = 'b', token = 'env:T' }}"
            ),
            "scheme.handshake.token",
        ),
        (&format!("{base}signed = '{{body}}'\nextra = 1"), "scheme.extra"),
        ("algorithm = 'token'\nsignature = { header = 'X-Token', encoding = 'hex' }", "scheme.signature.encoding"),
        ("algorithm = 'token'\nsignature = { header = 'X-Token' }\nsigned = '{body}'", "scheme.signed"),
        ("algorithm = 'token'\nsignature = { header = 'X-Token' }\ntimestamp = { header = 'X-T' }", "scheme.timestamp"),
    ];
    for (scheme, key) in cases {
        assert_eq!(custom(scheme).expect_err(scheme).key, key, "{scheme}");
    }
    assert_eq!(Custom::new(&toml::Table::new()).expect_err("no scheme").key, "scheme");
}

#[test]
fn what_each_algorithm_signs_it_verifies_and_nothing_else() {
    let seed = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let public = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
    for (algorithm, encoding, signing, verifying) in [
        ("hmac-sha1", "hex", "k", "k"),
        ("hmac-sha256", "base64", "k", "k"),
        ("hmac-sha512", "base64url", "k", "k"),
        ("ed25519", "hex", seed, public),
    ] {
        let scheme = custom(&format!(
            "algorithm = '{algorithm}'\nsignature = {{ header = 'X-Sig', prefix = 'v=', encoding = '{encoding}' }}\n\
             signed = \"{{method}} {{url}} {{header:X-Kind}} {{id}} {{timestamp}}\\n{{body}}\"\n\
             timestamp = {{ header = 'X-Time', unit = 'ms' }}\nid = {{ header = 'X-Id' }}\n\
             type = {{ header = 'X-Kind' }}\nsubject = {{ pointer = '/a/b' }}"
        ))
        .expect(algorithm);
        let Sample { event_type, body, .. } = scheme.sample("id-1", NOW);
        let outgoing = Outgoing { url: URL, id: "id-1", event_type, now: NOW, body: &body };
        let headers: HeaderMap = scheme.sign(&outgoing, &secret(signing)).expect(algorithm).into_iter().collect();
        let keys = [scheme.key(&secret(verifying)).expect(algorithm)];
        let verified = scheme.verify(&request(&headers, &body), &keys, window::FIVE_MINUTES).expect(algorithm);
        assert_eq!(verified, Verified { key: 0, signed_at: Some(NOW) });
        let Ok(Reading::Events(events)) = scheme.read(&request(&headers, &body), &verified, &keys) else {
            panic!("{algorithm}: no events");
        };
        assert_eq!((events[0].external_id.as_str(), events[0].id_signed), ("id-1", true));
        assert_eq!(events[0].subject_id.as_deref(), Some("subject-id-1"));
        assert_eq!((events[0].event_type.as_str(), &events[0].unsigned_topic), ("sample.created", &None));
        for name in ["x-id", "x-kind", "x-time"] {
            let mut changed = headers.clone();
            changed.insert(name, HeaderValue::from_static("1700000000001"));
            let result = scheme.verify(&request(&changed, &body), &keys, window::FIVE_MINUTES);
            assert_eq!(result, Err(Refusal::BadSignature), "{algorithm} {name}");
        }
        let result = scheme.verify(&request(&headers, &body[1..]), &keys, window::FIVE_MINUTES);
        assert_eq!(result, Err(Refusal::BadSignature), "{algorithm}");
    }
}

#[test]
fn a_token_is_compared_whole_and_marked_weak() {
    let scheme =
        custom("algorithm = 'token'\nsignature = { header = 'Authorization', prefix = 'Bearer ' }").expect("valid");
    assert!(scheme.profile().weak && !scheme.profile().signs_time);
    let keys = [scheme.key(&secret("s3cret")).expect("a key")];
    let with = |value: &'static str| {
        let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, HeaderValue::from_static(value))]);
        scheme.verify(&request(&headers, b"{}"), &keys, window::FIVE_MINUTES)
    };
    assert_eq!(with("Bearer s3cret"), Ok(Verified { key: 0, signed_at: None }));
    for value in ["Bearer s3cre", "Bearer s3cret ", "Bearer S3cret", "Bearer "] {
        assert_eq!(with(value), Err(Refusal::BadSignature), "{value}");
    }
    assert_eq!(with("s3cret"), Err(Refusal::MalformedSignature));
}

#[test]
fn a_public_key_is_no_symmetric_one() {
    let scheme = "algorithm = 'rsa-sha256'\nsignature = { header = 'X-Sig', encoding = 'base64' }\nsigned = '{body}'";
    let scheme = custom(scheme).expect("valid");
    assert_eq!(scheme.scheme.algorithm, Algorithm::Public(asymmetric::Algorithm::Rsa));
    assert!(scheme.key(&secret("text")).is_err());
}

#[test]
fn a_time_in_the_body_is_checked_and_has_to_be_there() {
    let scheme = custom(
        "algorithm = 'hmac-sha256'\nsignature = { header = 'X-Sig', encoding = 'hex' }\nsigned = '{body}'\n\
         timestamp = { pointer = '/at', unit = 's' }",
    )
    .expect("valid");
    let keys = [scheme.key(&secret("k")).expect("a key")];
    let verify = |body: &str| {
        let code = mac::hmac_sha256(b"k", &[body.as_bytes()]);
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-sig"), header::made(&hex::encode(code)))]);
        let request = request(&headers, body.as_bytes());
        let verified = scheme.verify(&request, &keys, window::FIVE_MINUTES)?;
        Ok(scheme.read(&request, &verified, &keys).is_ok())
    };
    assert_eq!(verify(r#"{"at":1700000000}"#), Ok(true));
    assert_eq!(verify(r#"{"at":1699999699}"#), Err(Refusal::StaleTimestamp));
    assert_eq!(verify(r#"{"at":1700000301}"#), Err(Refusal::FutureTimestamp));
    assert_eq!(verify(r#"{"at":1.5}"#), Ok(false));
    assert_eq!(verify("{}"), Ok(false));
    assert_eq!(verify(r#"{"at":1,"at":1700000000}"#), Ok(false));
}

#[test]
fn a_get_handshake_echoes_a_plain_challenge_for_the_right_token() {
    let scheme = custom(
        "algorithm = 'hmac-sha256'\nsignature = { header = 'X-Hub-Signature-256', prefix = 'sha256=', encoding = 'hex' }\n\
         signed = '{body}'\nhandshake = { query_token = 'hub.verify_token', query_challenge = 'hub.challenge', token = 'open' }",
    )
    .expect("valid");
    let headers = HeaderMap::new();
    let ask = |query: &str| {
        let url = format!("{URL}{query}");
        let request = Request { url: &url, method: &Method::GET, ..request(&headers, b"") };
        scheme.get_handshake(&request, &[]).expect("a handshake").map(|answer| answer.body)
    };
    assert_eq!(ask("?hub.mode=subscribe&hub.challenge=115&hub.verify_token=open"), Ok(b"115".to_vec()));
    assert_eq!(ask("?hub.challenge=115&hub.verify_token=ope"), Err(Refusal::BadSignature));
    assert_eq!(ask("?hub.challenge=115"), Err(Refusal::MissingSignature));
    assert_eq!(ask(""), Err(Refusal::MissingSignature));
    assert_eq!(ask("?hub.verify_token=open&hub.challenge=%3Cscript%3E"), Err(Refusal::MalformedSignature));
    assert_eq!(ask("?hub.verify_token=open&hub.verify_token=x&hub.challenge=1"), Err(Refusal::MissingSignature));
}

proptest! {
    /// Two different requests whose signed texts are equal are never both taken.
    #[test]
    fn no_signed_text_has_two_readings(
        id in "[a-c.]{0,4}", time in "[0-9]{1,3}", kind in "[a-c.|]{0,4}", body in "[a-c0-9.|]{0,6}",
        other_id in "[a-c.]{0,4}", other_time in "[0-9]{1,3}", other_kind in "[a-c.|]{0,4}", other_body in "[a-c0-9.|]{0,6}",
    ) {
        for template in ["{id}.{timestamp}.{body}", "{id}.{body}|{header:x-kind}", "{body}.{timestamp}", "{header:x-kind}|{body}.{id}"] {
            let template = template::Template::parse(template).expect("a template");
            let fill = |id: &str, time: &str, kind: &str, body: &str| {
                let headers = HeaderMap::from_iter([(HeaderName::from_static("x-kind"), header::made(kind))]);
                template.fill(&request(&headers, body.as_bytes()), time, id).expect("headers are there")
            };
            let (one, two) = (fill(&id, &time, &kind, &body), fill(&other_id, &other_time, &other_kind, &other_body));
            if let (Some(one), Some(two)) = (one, two) {
                let same = |contains: bool, one: &str, two: &str| !contains || one == two;
                let kind_counts = template.contains_header(&HeaderName::from_static("x-kind"));
                let equal = body == other_body
                    && same(template.contains_id(), &id, &other_id)
                    && same(template.contains_timestamp(), &time, &other_time)
                    && same(kind_counts, &kind, &other_kind);
                prop_assert_eq!(one == two, equal);
            }
        }
    }
}
