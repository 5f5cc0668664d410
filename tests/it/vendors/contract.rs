//! What holds for every vendor of the registry; one without fixtures fails here.

use sluice::vendors::{Envelope, Key, NAMES, Refusal};

use super::{Setup, seconds, secret, shifted};

#[test]
fn genuine_requests_verify_and_are_read() {
    for (name, setup) in Setup::all() {
        let events = setup.events(&setup.fixture("genuine"));
        assert!(!events.is_empty(), "{name}");
        for event in events {
            assert!(!event.external_id.is_empty() && !event.event_type.is_empty(), "{name}: {event:?}");
            assert!(event.payload.is_object(), "{name}");
        }
    }
}

#[test]
fn tampered_requests_are_refused() {
    for (name, setup) in Setup::all() {
        assert_eq!(setup.verify(&setup.fixture("tampered")), Err(Refusal::BadSignature), "{name}");
    }
}

/// Where no time is signed an old request cannot be told from a new one; the replay key has to do it.
#[test]
fn stale_requests_are_refused_where_the_time_is_signed() {
    for (name, setup) in Setup::all() {
        let result = setup.verify(&setup.fixture("stale"));
        if setup.vendor.profile().signs_time {
            assert_eq!(result, Err(Refusal::StaleTimestamp), "{name}");
        } else {
            assert_eq!(result.map(|verified| verified.signed_at), Ok(None), "{name}");
        }
    }
}

/// A retry keeps its id. Where the id is not signed, a captured request under a fresh id keeps what
/// the replay key is made of: the body and the unsigned topic.
#[test]
fn replayed_requests_can_be_told() {
    for (name, setup) in Setup::all() {
        let (genuine, replayed) = (setup.fixture("genuine"), setup.fixture("replayed"));
        let ids = |events: &[Envelope]| events.iter().map(|event| event.external_id.clone()).collect::<Vec<_>>();
        let (first, second) = (setup.events(&genuine), setup.events(&replayed));
        if first.iter().all(|event| event.id_signed) {
            assert_eq!(ids(&first), ids(&second), "{name}");
        } else {
            let topics = |events: &[Envelope]| events.iter().map(|e| e.unsigned_topic.clone()).collect::<Vec<_>>();
            assert_eq!((genuine.body, topics(&first)), (replayed.body, topics(&second)), "{name}");
        }
    }
}

#[test]
fn samples_verify_under_their_own_keys_and_say_what_they_are() {
    for (name, setup) in Setup::all() {
        let sample = setup.vendor.sample("smpl0001", setup.now);
        let delivery = setup.sample("smpl0001", setup.now);
        let verified = setup.verify(&delivery).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
        assert_eq!(verified.signed_at.is_some(), setup.vendor.profile().signs_time, "{name}");
        let events = setup.events(&delivery);
        assert!(
            events.iter().all(|event| event.event_type == sample.event_type || name == "custom"),
            "{name}: {events:?}"
        );
        assert!(setup.vendor.profile().content_types.contains(&sample.content_type), "{name}");
        let other = setup.events(&setup.sample("smpl0002", setup.now));
        assert_ne!(events[0].external_id, other[0].external_id, "{name}: two samples are one event");
    }
}

#[test]
fn another_key_does_not_verify() {
    let public: [(&str, String); 3] = [
        ("discord", "ff".repeat(32)),
        ("sendgrid", rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key").serialize_pem()),
        (
            "paypal",
            rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)
                .expect("a key")
                .serialize_pem(),
        ),
    ];
    for (name, setup) in Setup::all() {
        let symmetric = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned();
        let other = public.iter().find(|(vendor, _)| *vendor == name).map_or(symmetric, |(_, key)| key.clone());
        let delivery = setup.sample_signed_with("smpl0001", setup.now, &other);
        assert_eq!(setup.verify(&delivery), Err(Refusal::BadSignature), "{name}");
    }
}

#[test]
fn no_key_verifies_nothing() {
    for (name, mut setup) in Setup::all() {
        setup.keys.clear();
        assert_eq!(setup.verify(&setup.fixture("genuine")), Err(Refusal::NoLiveSecret), "{name}");
    }
}

#[test]
fn during_a_rotation_either_secret_verifies_and_the_one_that_did_is_told() {
    for (name, mut setup) in Setup::all() {
        if !matches!(setup.keys[0], Key::Symmetric(_)) {
            continue;
        }
        let new = "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXc=";
        let (old, old_text) = (setup.keys[0].clone(), setup.signing.clone());
        setup.keys = vec![setup.vendor.key(&secret(new)).expect("a key"), old];
        let key = |text: &str| setup.verify(&setup.sample_signed_with("smpl0001", setup.now, text)).map(|v| v.key);
        assert_eq!(key(new), Ok(0), "{name}");
        assert_eq!(key(&old_text), Ok(1), "{name}");
    }
}

#[test]
fn the_window_ends_after_its_last_second_on_both_sides() {
    for (name, setup) in Setup::all() {
        if !setup.vendor.profile().signs_time {
            continue;
        }
        let tolerance = seconds(setup.vendor.profile().tolerance);
        assert_eq!(tolerance, if name == "linear" { 60 } else { 300 }, "{name}");
        for (offset, expected) in [
            (-tolerance - 1, Some(Refusal::StaleTimestamp)),
            (-tolerance, None),
            (1 - tolerance, None),
            (0, None),
            (tolerance - 1, None),
            (tolerance, None),
            (tolerance + 1, Some(Refusal::FutureTimestamp)),
        ] {
            let result = setup.verify(&setup.sample("smpl0001", shifted(setup.now, offset)));
            assert_eq!(result.err(), expected, "{name} at {offset} s");
        }
    }
}

#[test]
fn a_signature_of_another_vendor_is_worth_nothing() {
    for (from, sender) in Setup::all() {
        for (to, receiver) in Setup::all() {
            // One scheme under one header family: only the secret tells these two apart.
            if from != to && [from, to] != ["openai", "standard"] && [from, to] != ["standard", "openai"] {
                let delivery = sender.sample("smpl0001", sender.now);
                let result = receiver.verify(&delivery);
                assert_eq!(result, Err(Refusal::MissingSignature), "{from} to {to}");
            }
        }
    }
}

#[test]
fn a_secret_that_is_no_key_is_refused_without_being_repeated() {
    for (name, setup) in Setup::all() {
        for text in ["", " ", "\n"] {
            assert!(setup.vendor.key(&secret(text)).is_err(), "{name} {text:?}");
        }
        if let Err(error) = setup.vendor.key(&secret("whpk_hush-hush!")) {
            assert!(!error.to_string().contains("hush"), "{name}: {error}");
        }
    }
}

#[test]
fn unknown_vendors_and_options_are_told() {
    assert!(sluice::vendors::build("acme", &toml::Table::new()).is_none());
    let options: toml::Table = "extra = 1".parse().expect("TOML");
    for name in NAMES {
        let error = sluice::vendors::build(name, &options).expect("a known vendor").expect_err("an error");
        assert!(!error.key.is_empty() && !error.reason.is_empty(), "{name}");
    }
    assert_eq!(NAMES.len(), 17);
}

#[test]
fn every_profile_is_complete() {
    for (name, setup) in Setup::all() {
        let profile = setup.vendor.profile();
        assert_eq!(setup.vendor.name(), name);
        assert!(!profile.content_types.is_empty() && !profile.setup.is_empty(), "{name}");
        assert!(profile.content_types.iter().all(|media| media.to_ascii_lowercase() == **media), "{name}");
        assert!(profile.max_body >= 512 * 1024, "{name}");
        assert!(profile.volatile.iter().all(|pointer| pointer.starts_with('/')), "{name}");
    }
}
