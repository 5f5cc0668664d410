use http::{HeaderMap, Method, StatusCode};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType, date_time_ymd,
};

use super::{
    Refusal::{CertificateExpired, CertificateInvalid, CertificateNotAccepted},
    *,
};
use crate::{
    config::{Config, Input},
    ingest::{
        Inbound, Reply,
        testing::{NOON, World, body},
    },
    secrets::Environment,
};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority_params(name), key()).expect("an authority")
}

/// A certificate for clients, as `change` makes it.
fn issued(by: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
    let mut params = CertificateParams::new(["hooks.vendor.example".to_owned()]).expect("names");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = date_time_ymd(2025, 6, 1);
    params.not_after = date_time_ymd(2026, 6, 1);
    change(&mut params);
    params.signed_by(&key(), by).expect("a certificate")
}

fn shown(chain: &[&Certificate]) -> Shown {
    let chain: Vec<_> = chain.iter().map(|it| it.der().clone()).collect();
    Shown::of_connection(&chain)
}

fn escaped(pem: &str) -> HeaderValue {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'=' | b'/' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    pem.bytes().map(escape).collect::<String>().parse().expect("a value")
}

/// A configuration with one source `app` that has these keys.
fn config(keys: &str, own: &Authority, shared: &Authority) -> Config {
    let (own, shared) = (own.pem(), shared.pem());
    let environment =
        Environment::fixed([("KEY_APP", "app-secret"), ("TOKEN", "open-sesame"), ("OWN", &own), ("SHARED", &shared)]);
    let main = "[edge]\npublic_url = 'https://hooks.example'\ntrusted_proxies = ['10.0.0.1']\n\
                client_certificate_header = 'X-Client-Cert'\nclient_ca = 'env:SHARED'\n";
    let plain = "[sources.plain]\nvendor = 'generic'\nsecrets = ['env:KEY_APP']\n";
    let tenant = format!("[sources.app]\nvendor = 'generic'\nsecrets = ['env:KEY_APP']\n{keys}\n{plain}");
    Input::new("/nowhere")
        .main(main)
        .tenant("acme", tenant)
        .environment(environment)
        .resolve()
        .expect("a configuration")
}

fn access(config: &Config) -> &Access {
    let lane = sluice_actors::domain::LaneKey::new("acme".parse().expect("a name"), "app".parse().expect("a name"));
    &config.source(&lane).expect("the source").1.access
}

const CLIENT: &str = "203.0.113.7";

fn client() -> IpAddr {
    CLIENT.parse().expect("an address")
}

#[test]
fn only_named_networks_may_deliver_in_whatever_form_the_address_comes() {
    let (own, shared) = (authority("own"), authority("shared"));
    let config = config(
        "allow_from = ['203.0.113.0/29', '198.51.100.9', '2001:db8:7::/48', '::ffff:192.0.2.0/120']",
        &own,
        &shared,
    );
    for (address, is_allowed) in [
        ("203.0.113.7", true),
        ("203.0.113.8", false),
        ("::ffff:203.0.113.7", true),
        ("::ffff:203.0.113.8", false),
        ("198.51.100.9", true),
        ("198.51.100.8", false),
        ("192.0.2.255", true),
        ("192.0.3.0", false),
        ("::192.0.2.1", false),
        ("2001:db8:7::1", true),
        ("2001:db8:8::1", false),
        ("127.0.0.1", false),
        ("::1", false),
    ] {
        let admitted = admit(access(&config), address.parse().expect("an address"), None, NOON);
        assert_eq!(admitted, if is_allowed { Ok(()) } else { Err(Refusal::AddressNotAllowed) }, "{address}");
    }
}

#[test]
fn a_certificate_counts_under_its_authority_for_its_names_and_in_its_time() {
    let (own, shared, foreign) = (authority("own"), authority("shared"), authority("own"));
    let good = issued(&shared, |_| {});
    let of_own = issued(&own, |_| {});
    let middle = CertifiedIssuer::signed_by(authority_params("middle"), key(), &own).expect("an authority");
    let below = issued(&middle, |_| {});
    let old_middle = CertifiedIssuer::signed_by(
        {
            let mut params = authority_params("old");
            params.not_after = date_time_ymd(2025, 12, 1);
            params
        },
        key(),
        &own,
    )
    .expect("an authority");
    let below_old = issued(&old_middle, |_| {});
    let uri = |params: &mut CertificateParams| {
        params.subject_alt_names.push(SanType::URI("spiffe://vendor/Hooks".try_into().expect("ASCII")));
    };
    let common_only = |params: &mut CertificateParams| {
        params.subject_alt_names.clear();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "hooks.vendor.example");
    };
    let (of_uri, of_common) = (issued(&shared, uri), issued(&shared, common_only));
    let common_beside = issued(&shared, |params| {
        params.subject_alt_names = vec![SanType::DnsName("other.example".try_into().expect("ASCII"))];
        params.distinguished_name.push(DnType::CommonName, "hooks.vendor.example");
    });
    let ended = issued(&shared, |params| params.not_after = date_time_ymd(2026, 1, 1));
    let coming = issued(&shared, |params| params.not_before = date_time_ymd(2026, 1, 2));
    let of_servers = issued(&shared, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let of_any = issued(&shared, |params| params.extended_key_usages.clear());
    let forged = issued(&foreign, |_| {});
    let host = "client_certificate = { names = ['Hooks.Vendor.Example'] }";
    let own_ca = "client_certificate = { ca = 'env:OWN' }";
    let both = "client_certificate = { ca = 'env:OWN', names = ['hooks.vendor.example'] }";
    let spiffe = "client_certificate = { names = ['spiffe://vendor/Hooks'] }";
    let wrong_case = "client_certificate = { names = ['spiffe://vendor/hooks'] }";
    for (nth, (keys, chain, expected)) in [
        (host, vec![&good], Ok(())),
        (host, vec![&of_any], Ok(())),
        (host, vec![&of_common], Ok(())),
        (host, vec![&common_beside], Err(CertificateNotAccepted)),
        (host, vec![&of_own], Err(CertificateInvalid)),
        (host, vec![&forged], Err(CertificateInvalid)),
        // The authority itself, shown by whoever has its certificate, is no client.
        (host, vec![shared.as_ref()], Err(CertificateInvalid)),
        // What is merely shown beside a leaf vouches for nothing.
        (own_ca, vec![&forged, foreign.as_ref()], Err(CertificateInvalid)),
        (host, vec![&ended], Err(CertificateExpired)),
        (host, vec![&coming], Err(CertificateExpired)),
        (host, vec![&of_servers], Err(CertificateInvalid)),
        (own_ca, vec![&of_own], Ok(())),
        (own_ca, vec![&good], Err(CertificateInvalid)),
        (own_ca, vec![&below, middle.as_ref()], Ok(())),
        (own_ca, vec![&below], Err(CertificateInvalid)),
        (own_ca, vec![&below_old, old_middle.as_ref()], Err(CertificateExpired)),
        (both, vec![&of_own], Ok(())),
        // A source's own authority stands in place of the shared one, not beside it.
        (both, vec![&good], Err(CertificateInvalid)),
        (spiffe, vec![&of_uri], Ok(())),
        (spiffe, vec![&good], Err(CertificateNotAccepted)),
        (wrong_case, vec![&of_uri], Err(CertificateNotAccepted)),
    ]
    .into_iter()
    .enumerate()
    {
        let config = config(keys, &own, &shared);
        assert_eq!(admit(access(&config), client(), Some(&shown(&chain)), NOON), expected, "case {nth}");
    }
    let config = config(host, &own, &shared);
    assert_eq!(admit(access(&config), client(), None, NOON), Err(Refusal::CertificateMissing));
    assert_eq!(admit(access(&config), client(), Some(&Shown::unreadable()), NOON), Err(CertificateInvalid));
    // The same certificate at its last moment and after it, by the clock.
    let end = Timestamp::parse_rfc3339("2026-06-01T00:00:00Z").expect("a time");
    let chain = shown(&[&good]);
    assert_eq!(admit(access(&config), client(), Some(&chain), end), Ok(()));
    assert_eq!(
        admit(access(&config), client(), Some(&chain), end.plus(Duration::from_secs(1))),
        Err(CertificateExpired)
    );
}

#[test]
fn a_pinned_certificate_counts_whoever_issued_it_and_no_other() {
    let (own, shared, foreign) = (authority("own"), authority("shared"), authority("foreign"));
    let (pinned, other) = (issued(&foreign, |_| {}), issued(&foreign, |_| {}));
    let digest = hex::encode_upper(fingerprint(pinned.der()).0);
    let colons: Vec<&str> = (0..32).map(|at| &digest[2 * at..2 * at + 2]).collect();
    let named = issued(&shared, |_| {});
    for written in [digest.clone(), colons.join(":"), format!("sha256:{}", digest.to_lowercase())] {
        let keys = format!("client_certificate = {{ fingerprints = ['{written}'] }}");
        let config = config(&keys, &own, &shared);
        assert_eq!(admit(access(&config), client(), Some(&shown(&[&pinned])), NOON), Ok(()));
        let refused = admit(access(&config), client(), Some(&shown(&[&other, &pinned])), NOON);
        assert_eq!(refused, Err(Refusal::CertificateNotAccepted));
        // The shared authority is for names only.
        assert_eq!(
            admit(access(&config), client(), Some(&shown(&[&named])), NOON),
            Err(Refusal::CertificateNotAccepted)
        );
    }
    let keys = format!("client_certificate = {{ names = ['hooks.vendor.example'], fingerprints = ['{digest}'] }}");
    let config = config(&keys, &own, &shared);
    for chain in [&pinned, &named] {
        assert_eq!(admit(access(&config), client(), Some(&shown(&[chain])), NOON), Ok(()));
    }
    let late = NOON.plus(Duration::from_hours(24 * 365));
    assert_eq!(admit(access(&config), client(), Some(&shown(&[&pinned])), late), Err(Refusal::CertificateExpired));
}

#[test]
fn a_header_is_read_as_nginx_and_as_aws_write_it() {
    let own = authority("own");
    let (leaf, chain) = (issued(&own, |_| {}), own.pem());
    let all: String = leaf.pem().bytes().map(|byte| format!("%{byte:02X}")).collect();
    let whole = leaf.pem() + &chain;
    for (value, certificates) in [
        (escaped(&leaf.pem()), 1),
        (all.parse().expect("a value"), 1),
        (escaped(&whole), 2),
        (escaped("no certificate"), 0),
    ] {
        assert_eq!(Shown::of_header(&value).0.len(), certificates);
    }
    // One that is cut off is none, rather than the part that is whole.
    let text = escaped(&whole);
    let cut = HeaderValue::from_bytes(&text.as_bytes()[..text.len() - 40]).expect("a value");
    assert_eq!(Shown::of_header(&cut).0.len(), 0);
    // Chains are looked at only so far.
    let long = escaped(&leaf.pem().repeat(40));
    assert_eq!(Shown::of_header(&long).0.len(), LONGEST_CHAIN);
}

proptest! {
    #[test]
    fn no_header_makes_us_panic(bytes in prop::collection::vec(prop::sample::select(b"%25-BEGINCRTIFAD\n0aA+/= \xff".to_vec()), 0..200)) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let shown = Shown::of_header(&value);
            prop_assert!(explain(Refusal::CertificateInvalid, client(), Some(&shown)).is_some());
        }
    }
}

impl World {
    async fn delivered(&self, source: &str, client: &str, certificate: Option<Shown>, headers: HeaderMap) -> Reply {
        let inbound = Inbound {
            method: Method::POST,
            target: format!("/webhooks/acme/{source}").parse().expect("a target"),
            headers,
            body: body(1).into(),
            client: client.parse().expect("an address"),
            certificate,
        };
        let door = self.receiver.door(&"acme".parse().expect("a name"), &source.parse().expect("a name"));
        self.receiver.receive(&door, inbound).await
    }
}

#[tokio::test]
async fn who_may_not_deliver_gets_the_answer_of_a_path_that_leads_nowhere_and_ops_hear_why() {
    let (own, shared) = (authority("own"), authority("shared"));
    let (good, foreign) = (issued(&shared, |_| {}), issued(&own, |_| {}));
    let ended = issued(&shared, |params| params.not_after = date_time_ymd(2026, 1, 1));
    let named = issued(&shared, |params| {
        params.subject_alt_names = vec![SanType::DnsName("other.example\nx".try_into().expect("ASCII"))];
    });
    let keys = "allow_from = ['203.0.113.0/24']\nclient_certificate = { names = ['hooks.vendor.example'] }";
    let world = World::with(config(keys, &own, &shared));
    let signed = |key: &str| world.signed_with("app", key, "e1", body(1).as_bytes());
    let nowhere = world.delivered("nothing", CLIENT, None, signed("app-secret")).await;
    assert_eq!(nowhere.status, StatusCode::UNAUTHORIZED);
    world.seen.take();
    for (client, chain, reason, hint) in [
        ("198.51.100.1", Some(&good), "address_not_allowed", "198.51.100.1 is not in the source's `allow_from`"),
        (CLIENT, None, "certificate_missing", "`edge.client_certificate_header`"),
        (CLIENT, Some(&foreign), "certificate_invalid", "hooks.vendor.example, valid 2025-06-01"),
        (CLIENT, Some(&ended), "certificate_expired", "to 2026-01-01T00:00:00.000Z, sha256:"),
        (CLIENT, Some(&named), "certificate_not_accepted", "other.example?x, valid"),
    ] {
        // Of who did not sign nothing else is looked at.
        for (key, reason, hint) in [("app-secret", reason, hint), ("forged", "bad_signature", "")] {
            let certificate = chain.map(|it| shown(&[it]));
            let refused = world.delivered("app", client, certificate, signed(key)).await;
            assert_eq!(
                (refused.status, &refused.body, refused.content_type, refused.retry_after),
                (nowhere.status, &nowhere.body, nowhere.content_type, nowhere.retry_after)
            );
            assert_eq!(world.seen.take(), [format!("refused app {reason}")]);
            world.records.refused.notified().await;
            let row = world.records.refusals.lock().expect("no panic").pop().expect("it is kept");
            assert_eq!((row.reason.as_str(), row.peer.as_str()), (reason, client));
            assert!(row.hint.contains(hint), "{}", row.hint);
        }
    }
    assert_eq!(world.store.count(), 0);
    // Others of the same listener demand nothing.
    let plain = world.signed_with("plain", "app-secret", "e1", body(1).as_bytes());
    assert_eq!(world.delivered("plain", "198.51.100.1", None, plain).await.status, StatusCode::OK);
    assert_eq!(
        world.delivered("app", CLIENT, Some(shown(&[&good])), signed("app-secret")).await.status,
        StatusCode::OK
    );
    assert_eq!(
        world.delivered("app", CLIENT, Some(shown(&[&good])), signed("forged")).await.status,
        StatusCode::UNAUTHORIZED
    );
}

/// Neither a source that waits for its secret nor one that proves itself by a GET talks to everybody.
#[tokio::test]
async fn handshakes_are_for_those_who_may_deliver() {
    let (own, shared) = (authority("own"), authority("shared"));
    let keys = "[sources.pages]\nvendor = 'notion'\nawait_handshake = true\nallow_from = ['203.0.113.0/24']\n\
                [sources.hook]\nvendor = 'custom'\nsecrets = ['env:KEY_APP']\nallow_from = ['203.0.113.0/24']\n\
                [sources.hook.scheme]\nalgorithm = 'hmac-sha256'\nsignature = { header = 'X-S', encoding = 'hex' }\n\
                signed = '{body}'\n\
                handshake = { query_token = 't', query_challenge = 'c', token = 'env:TOKEN' }\n";
    let world = World::with(config(keys, &own, &shared));
    let token = "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl";
    let offer = format!(r#"{{"verification_token":"{token}"}}"#);
    let headers = world.signed_with("pages", token, "", offer.as_bytes());
    let ask = |client: &str| Inbound {
        method: Method::POST,
        target: "/webhooks/acme/pages".parse().expect("a target"),
        headers: headers.clone(),
        body: offer.clone().into(),
        client: client.parse().expect("an address"),
        certificate: None,
    };
    let acme = "acme".parse().expect("a name");
    let door = world.receiver.door(&acme, &"pages".parse().expect("a name"));
    assert_eq!(world.receiver.receive(&door, ask("198.51.100.1")).await.status, StatusCode::UNAUTHORIZED);
    assert!(world.records.handshakes.lock().expect("no panic").is_empty());
    assert_eq!(world.receiver.receive(&door, ask(CLIENT)).await.status, StatusCode::OK);
    assert_eq!(world.records.handshakes.lock().expect("no panic").len(), 1);

    let door = world.receiver.door(&acme, &"hook".parse().expect("a name"));
    let get = |client: &str| Inbound {
        method: Method::GET,
        target: "/webhooks/acme/hook?t=open-sesame&c=115".parse().expect("a target"),
        body: bytes::Bytes::new(),
        ..ask(client)
    };
    assert!(world.receiver.get_handshake(&door, &get("198.51.100.1")).is_none());
    assert!(world.receiver.get_handshake(&door, &get(CLIENT)).is_some());
}
