//! Rules of single schemes: what one vendor signs and another does not.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName};
use sha2::Sha256;
use sluice::vendors::{Outgoing, Refusal};

use super::{Delivery, Setup, secret, shifted};

#[test]
fn header_families_are_not_mixed() {
    let (svix, standard) = (Setup::new("svix"), Setup::new("standard"));
    let delivery = standard.sample("smpl0001", standard.now);
    assert_eq!(svix.verify(&delivery), Err(Refusal::MissingSignature));
    let mut mixed = svix.sample("smpl0001", svix.now);
    let id = mixed.headers.remove("svix-id").expect("an id");
    mixed.headers.insert("webhook-id", id);
    assert_eq!(svix.verify(&mixed), Err(Refusal::MissingSignature));

    let shopify = Setup::new("shopify");
    let old = shopify.sample("smpl0001", shopify.now);
    let renamed: HeaderMap = old
        .headers
        .iter()
        .map(|(name, value)| {
            let name = name.as_str().strip_prefix("x-").unwrap_or(name.as_str());
            (name.parse::<HeaderName>().expect("a name"), value.clone())
        })
        .collect();
    let new = Delivery { headers: renamed.clone(), ..old.clone() };
    assert_eq!(shopify.events(&new)[0].event_type, "orders/create");
    let mut mixed = old;
    mixed.headers.remove("x-shopify-topic");
    mixed.headers.extend(renamed.into_iter().filter(|(name, _)| name.as_ref().is_some_and(|n| n == "shopify-topic")));
    assert!(shopify.read(&mixed).is_err());
}

/// `a.1` + `2…` and `a` + `1.2…` sign the same text; at most one of them may be taken.
#[test]
fn an_id_with_a_dot_is_refused() {
    for (name, header) in [("openai", "webhook-id"), ("standard", "webhook-id"), ("svix", "svix-id")] {
        let setup = Setup::new(name);
        let delivery = setup.sample("msg.1", setup.now);
        assert_eq!(delivery.headers[header], "msg.1");
        assert_eq!(setup.verify(&delivery), Err(Refusal::MalformedSignature), "{name}");
    }
}

#[test]
fn hubspot_is_signed_for_its_method_and_url() {
    let setup = Setup::new("hubspot");
    let delivery = setup.fixture("genuine");
    for (method, url) in [
        ("PUT", delivery.url.clone()),
        ("POST", delivery.url.replace("https", "http")),
        ("POST", format!("{}&x", delivery.url)),
        ("POST", delivery.url.replace("acme", "other")),
    ] {
        let changed = Delivery { method: method.parse().expect("a method"), url, ..delivery.clone() };
        assert_eq!(setup.verify(&changed), Err(Refusal::BadSignature));
    }
}

#[test]
fn twilio_does_not_take_one_kind_of_body_for_another() {
    let setup = Setup::new("twilio");
    let form = setup.fixture("genuine");
    let as_json = form.clone().with("content-type", "application/json");
    assert_eq!(setup.verify(&as_json), Err(Refusal::MalformedSignature));
    // An authentic JSON delivery, whose signature covers its URL only, sent again as an empty form.
    let body = br#"{"id":"EV1","type":"com.twilio.messaging.message.sent"}"#.to_vec();
    let hash = hex::encode(<Sha256 as sha2::Digest>::digest(&body));
    let url = format!("https://hooks.example.com/webhooks/acme/twilio?bodySHA256={hash}");
    let outgoing = Outgoing { url: &url, id: "", event_type: "", now: setup.now, body: b"" };
    let headers: HeaderMap =
        setup.vendor.sign(&outgoing, &secret(&setup.signing)).expect("a secret").into_iter().collect();
    let json = Delivery { url, headers, body, ..form }.with("content-type", "application/json");
    assert_eq!(setup.events(&json)[0].external_id, "EV1");
    let empty = Delivery { body: Vec::new(), ..json.clone() }.with("content-type", "application/x-www-form-urlencoded");
    assert_eq!(setup.verify(&empty), Err(Refusal::BadSignature));
    let tampered = Delivery { body: b"{}".to_vec(), ..json };
    assert_eq!(setup.verify(&tampered), Err(Refusal::BadSignature));
}

#[test]
fn twilio_verifies_sha256_where_the_settings_say_so() {
    let setup = Setup::new("twilio");
    let form = setup.fixture("genuine");
    let mut fields: Vec<(String, String)> = url::form_urlencoded::parse(&form.body).into_owned().collect();
    fields.sort();
    let text = fields.into_iter().fold(form.url.clone(), |text, (name, value)| text + &name + &value);
    let mut mac = Hmac::<Sha256>::new_from_slice(setup.secret.as_bytes()).expect("a key");
    mac.update(text.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let with = |settings: &str| {
        let delivery = form.clone().with("x-twilio-signature", &signature);
        setup.verify(&delivery.with("x-twilio-webhooks-signature-settings", settings)).map(|verified| verified.key)
    };
    assert_eq!(with("key=SK1,algorithm=HMAC_SHA256"), Ok(0));
    assert_eq!(with("key=SK1, algorithm=HMAC_SHA256"), Ok(0));
    assert_eq!(with("key=SK1"), Err(Refusal::MalformedSignature));
    assert_eq!(with("key=SK1,algorithm=none"), Err(Refusal::MalformedSignature));
}

/// PayPal signs a CRC32 of the body: what was signed is kept, to know a replay by.
#[test]
fn paypal_events_are_told_by_what_was_signed() {
    let setup = Setup::new("paypal");
    let delivery = setup.fixture("genuine");
    let [event] = &setup.events(&delivery)[..] else { panic!("one event") };
    let text = |name: &str| delivery.headers[name].to_str().expect("text").to_owned();
    let signed = event.signed_instead.as_deref().expect("a signed text");
    assert!(signed.starts_with(&format!("{}|{}|", text("paypal-transmission-id"), text("paypal-transmission-time"))));
    assert!(signed.ends_with(&format!("|{}", crc32fast::hash(&delivery.body))), "{signed}");
    assert!(!event.id_signed);
}

#[test]
fn paypal_takes_only_its_own_certificates() {
    let setup = Setup::new("paypal");
    let delivery = setup.fixture("genuine");
    for (header, value) in [
        ("paypal-cert-url", "https://paypal.com.evil.example/cert.pem"),
        ("paypal-auth-algo", "SHA1withRSA"),
        ("paypal-transmission-id", "a|b"),
    ] {
        let result = setup.verify(&delivery.clone().with(header, value));
        assert_eq!(result, Err(Refusal::MalformedSignature), "{header}");
    }
    // The certificate is good from 2020 to 2120.
    for year in [1_500_000_000_i64, 5_000_000_000] {
        let sample = setup.sample("smpl0001", sluice_actors::domain::Timestamp::from_secs(year));
        let result = setup.verify(&Delivery { now: shifted(setup.now, year - 1_700_000_000), ..sample });
        assert_eq!(result, Err(Refusal::BadSignature), "at {year}");
    }
    // Without its root, which is no public one, the chain leads nowhere.
    let options: toml::Table = "webhook_id = 'W1'".parse().expect("TOML");
    let public = sluice::vendors::build("paypal", &options).expect("known").expect("valid");
    let error = public.key(&secret(&setup.secret)).expect_err("an unknown root");
    assert!(error.to_string().contains("trusted root"), "{error}");
    // A root is not a certificate of paypal.com.
    let root = std::fs::read_to_string(super::fixtures().join("paypal/root.pem")).expect("root.pem");
    let error = setup.vendor.key(&secret(&root)).expect_err("another name");
    assert!(error.to_string().contains("paypal.com"), "{error}");
}

#[test]
fn openai_and_standard_read_a_bare_secret_each_in_their_way() {
    // "c2VjcmV0" is `secret` in base64.
    let (openai, standard) = (Setup::new("openai"), Setup::new("standard"));
    let delivery = openai.sample_signed_with("smpl0001", openai.now, "c2VjcmV0");
    let key = |setup: &Setup, text: &str| [setup.vendor.key(&secret(text)).expect("a key")];
    let verifies = |setup: &Setup, text: &str| {
        setup.vendor.verify(&delivery.request(), &key(setup, text), setup.vendor.profile().tolerance).is_ok()
    };
    assert!(verifies(&openai, "c2VjcmV0"));
    assert!(!verifies(&standard, "c2VjcmV0"));
    assert!(verifies(&standard, &STANDARD.encode("c2VjcmV0")));
    assert!(verifies(&openai, &format!("whsec_{}", STANDARD.encode("c2VjcmV0"))));
}

#[test]
fn standard_takes_public_keys_beside_secrets() {
    let seed: Vec<u8> = (0..32).collect();
    let public = hex::decode("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8").expect("hex");
    let mut setup = Setup::new("standard");
    let public = setup.vendor.key(&secret(&format!("whpk_{}", STANDARD.encode(&public)))).expect("a key");
    setup.keys.push(public);
    let private = format!("whsk_{}", STANDARD.encode(&seed));
    let by_key = setup.sample_signed_with("smpl0001", setup.now, &private);
    assert!(by_key.headers["webhook-signature"].to_str().expect("text").starts_with("v1a,"));
    assert_eq!(setup.verify(&by_key).map(|verified| verified.key), Ok(1));
    let by_secret = setup.sample("smpl0001", setup.now);
    assert_eq!(setup.verify(&by_secret).map(|verified| verified.key), Ok(0));
    let tampered = Delivery { body: b"{}".to_vec(), ..by_key };
    assert_eq!(setup.verify(&tampered), Err(Refusal::BadSignature));
    assert!(setup.vendor.key(&secret(&private)).expect_err("a private key").to_string().contains("whpk_"));
}
