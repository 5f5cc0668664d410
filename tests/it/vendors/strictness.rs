//! Where official SDKs disagree with each other, and where one more byte is let through: we refuse.
//! The rows are those that were asked of thirteen vendors' SDKs with the same requests.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderName, HeaderValue};
use sha2::Sha256;
use sluice::vendors::{Outgoing, Refusal};

use super::{Delivery, Setup, secret};

/// The header that holds each vendor's signature, and how it is written there.
const SIGNATURES: [(&str, &str, Form); 16] = [
    ("openai", "webhook-signature", Form::Base64),
    ("slack", "x-slack-signature", Form::Hex),
    ("stripe", "stripe-signature", Form::Hex),
    ("hubspot", "x-hubspot-signature-v3", Form::Base64),
    ("notion", "x-notion-signature", Form::Hex),
    ("github", "x-hub-signature-256", Form::Hex),
    ("shopify", "x-shopify-hmac-sha256", Form::Base64),
    ("linear", "linear-signature", Form::Hex),
    ("zoom", "x-zm-signature", Form::Hex),
    ("twilio", "x-twilio-signature", Form::Base64),
    ("discord", "x-signature-ed25519", Form::Hex),
    ("sendgrid", "x-twilio-email-event-webhook-signature", Form::Base64),
    ("paypal", "paypal-transmission-sig", Form::Base64),
    ("standard", "webhook-signature", Form::Base64),
    ("svix", "svix-signature", Form::Base64),
    ("generic", "x-signature", Form::Hex),
];

#[derive(PartialEq)]
enum Form {
    Hex,
    Base64,
}

/// A genuine sample, its signature's header and value.
fn genuine(name: &str) -> (Setup, Delivery, String) {
    let setup = Setup::new(name);
    let delivery = setup.sample("smpl0001", setup.now);
    assert!(setup.verify(&delivery).is_ok(), "{name}");
    let (_, header, _) = SIGNATURES.iter().find(|(vendor, ..)| *vendor == name).expect("a known vendor");
    let value = delivery.headers[*header].to_str().expect("text").to_owned();
    (setup, delivery, value)
}

/// Verifies a genuine sample with another signature header.
fn with_signature(name: &str, change: impl FnOnce(&str) -> String) -> Result<usize, Refusal> {
    let (setup, delivery, value) = genuine(name);
    let (_, header, _) = SIGNATURES.iter().find(|(vendor, ..)| *vendor == name).expect("a known vendor");
    let changed = change(&value);
    assert_ne!(changed, value, "{name}: nothing was changed");
    setup.verify(&delivery.with(header, &changed)).map(|verified| verified.key)
}

fn refused(refusal: Result<usize, Refusal>) -> bool {
    matches!(refusal, Err(Refusal::MalformedSignature | Refusal::BadSignature))
}

#[test]
fn hex_in_upper_case_is_refused() {
    for (name, _, form) in SIGNATURES {
        if form == Form::Hex {
            let upper = |value: &str| {
                let at = value.rfind('=').map_or(0, |at| at + 1);
                format!("{}{}", &value[..at], value[at..].to_uppercase())
            };
            assert_eq!(with_signature(name, upper), Err(Refusal::MalformedSignature), "{name}");
        }
    }
}

#[test]
fn anything_after_or_before_the_signature_is_refused() {
    for (name, ..) in SIGNATURES {
        for junk in ["00", "=00", "=", "A", " ", ";", "\t"] {
            let after = with_signature(name, |value| format!("{value}{junk}"));
            assert!(refused(after), "{name}: {junk:?} after gives {after:?}");
            let before = with_signature(name, |value| format!("{junk}{value}"));
            assert!(refused(before), "{name}: {junk:?} before gives {before:?}");
        }
        let shorter = with_signature(name, |value| value[..value.len() - 1].to_owned());
        assert!(refused(shorter), "{name}: {shorter:?}");
    }
}

#[test]
fn an_empty_signature_is_refused() {
    for (name, header, _) in SIGNATURES {
        let (setup, delivery, _) = genuine(name);
        for value in ["", "v1,", "v0=", "sha256=", "v1=", "t=1700000000,v1=", "v1a,", ",", "=", "v1, v1,"] {
            let result = setup.verify(&delivery.clone().with(header, value));
            assert!(refused(result.map(|verified| verified.key)), "{name}: {value:?} gives {result:?}");
        }
    }
}

#[test]
fn a_signature_without_its_prefix_is_refused() {
    for (name, prefix) in [
        ("openai", "v1,"),
        ("standard", "v1,"),
        ("svix", "v1,"),
        ("slack", "v0="),
        ("zoom", "v0="),
        ("notion", "sha256="),
        ("github", "sha256="),
    ] {
        let result = with_signature(name, |value| value.strip_prefix(prefix).expect("the prefix").to_owned());
        assert_eq!(result, Err(Refusal::MalformedSignature), "{name}");
        for other in ["v2,", "v2=", "sha1=", "V1,", "V0=", "SHA256="] {
            let result = with_signature(name, |value| value.replacen(prefix, other, 1));
            assert_eq!(result, Err(Refusal::MalformedSignature), "{name} {other}");
        }
    }
}

#[test]
fn a_list_entry_without_a_comma_is_refused() {
    for name in ["openai", "standard", "svix"] {
        for entry in ["g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "v1", "", "x"] {
            let first = with_signature(name, |value| format!("{entry} {value}"));
            let last = with_signature(name, |value| format!("{value} {entry}"));
            assert_eq!((first, last), (Err(Refusal::MalformedSignature), Err(Refusal::MalformedSignature)), "{name}");
        }
    }
}

#[test]
fn base64_of_the_other_alphabet_is_refused() {
    for (name, ..) in SIGNATURES.into_iter().filter(|(_, _, form)| *form == Form::Base64) {
        let (prefix, alphabet) = if matches!(name, "openai" | "standard" | "svix") { ("v1,", 3) } else { ("", 0) };
        let result = with_signature(name, |value| format!("{prefix}{}-_", &value[alphabet..value.len() - 2]));
        assert!(refused(result), "{name}: {result:?}");
    }
}

#[test]
fn a_good_signature_is_found_among_others() {
    let bad = STANDARD.encode([7; 32]);
    for name in ["openai", "standard", "svix"] {
        assert_eq!(with_signature(name, |value| format!("v1,{bad} v2,{bad} v1,invalid {value}")), Ok(0), "{name}");
        assert_eq!(with_signature(name, |value| format!("{value} v1,{bad}")), Ok(0), "{name}");
    }
    let bad = "0".repeat(64);
    assert_eq!(with_signature("stripe", |value| format!("{value},v1={bad},v0={bad}")), Ok(0));
    assert_eq!(with_signature("stripe", |value| value.replace(",v1=", &format!(",v1={bad},v2=xyz,v1="))), Ok(0));
}

#[test]
fn more_signatures_than_a_rotation_needs_are_refused() {
    let (hex, base64) = ("0".repeat(64), STANDARD.encode([7; 32]));
    for name in ["openai", "standard", "svix"] {
        let list = |count: usize| format!("v1,{base64} ").repeat(count);
        assert_eq!(with_signature(name, |value| format!("{}{value}", list(7))), Ok(0), "{name}");
        assert_eq!(
            with_signature(name, |value| format!("{}{value}", list(8))),
            Err(Refusal::MalformedSignature),
            "{name}"
        );
        assert_eq!(
            with_signature(name, |value| format!("{}{value}", list(10_000))),
            Err(Refusal::MalformedSignature),
            "{name}"
        );
    }
    let list = |count: usize| format!(",v1={hex}").repeat(count);
    assert_eq!(with_signature("stripe", |value| format!("{value}{}", list(7))), Ok(0));
    assert_eq!(with_signature("stripe", |value| format!("{value}{}", list(8))), Err(Refusal::MalformedSignature));
    assert_eq!(with_signature("stripe", |value| format!("{value}{}", list(10_000))), Err(Refusal::MalformedSignature));
}

#[test]
fn stripe_items_are_not_trimmed_and_there_is_one_time() {
    for change in [
        |value: &str| value.replace(",v1", ", v1"),
        |value: &str| format!("t=1,{value}"),
        |value: &str| format!("{value},t=1700000000"),
        |value: &str| value.replace("t=1700000000,", ""),
        |value: &str| value.replace("v1=", "v0="),
        |value: &str| format!("{value},"),
    ] {
        assert_eq!(with_signature("stripe", change), Err(Refusal::MalformedSignature));
    }
}

#[test]
fn a_header_that_is_there_twice_or_not_text_is_refused() {
    for (name, setup) in Setup::all() {
        let delivery = setup.sample("smpl0001", setup.now);
        for header in delivery.headers.keys().filter(|header| *header != "content-type") {
            let mut twice = delivery.clone();
            twice.headers.append(header.clone(), delivery.headers[header].clone());
            let mut binary = delivery.clone();
            binary.headers.insert(header.clone(), HeaderValue::from_bytes(b"\xe9\xff").expect("obs-text"));
            for (what, changed) in [("twice", twice), ("binary", binary)] {
                // A header outside the signature is part of the envelope, or unread.
                let unread = ["linear-event", "x-shopify-shop-domain"].contains(&header.as_str());
                match setup.verify(&changed) {
                    Err(refusal) => assert_eq!(refusal, Refusal::MalformedSignature, "{name} {header} {what}"),
                    Ok(_) => assert!(unread || setup.read(&changed).is_err(), "{name} {header} {what}"),
                }
            }
        }
    }
}

#[test]
fn a_missing_header_is_told_from_a_bad_one() {
    for (name, header, _) in SIGNATURES {
        let (setup, mut delivery, _) = genuine(name);
        delivery.headers.remove(header);
        assert_eq!(setup.verify(&delivery), Err(Refusal::MissingSignature), "{name}");
    }
}

#[test]
fn a_body_changed_after_signing_is_refused() {
    for (name, setup) in Setup::all() {
        let delivery = setup.sample("smpl0001", setup.now);
        for body in [
            [&delivery.body[..], b"\n"].concat(),
            [&delivery.body[..], b" "].concat(),
            [b"\xef\xbb\xbf", &delivery.body[..]].concat(),
            delivery.body[1..].to_vec(),
            Vec::new(),
        ] {
            let result = setup.verify(&Delivery { body, ..delivery.clone() });
            assert!(refused(result.map(|verified| verified.key)), "{name}: {result:?}");
        }
    }
}

/// What authenticates but is nobody's JSON goes on to 400, not 401.
#[test]
fn an_authentic_body_that_is_not_json_is_malformed_and_not_forged() {
    for (name, setup) in Setup::all() {
        // Twilio signs a form's fields, or the body's hash in the URL; the rest sign any bytes.
        if name == "twilio" {
            continue;
        }
        let sample = setup.vendor.sample("smpl0001", setup.now);
        let bodies: [Vec<u8>; 8] = [
            Vec::new(),
            [b"\xef\xbb\xbf", &sample.body[..]].concat(),
            b"{\"a\":\"\xff\"}".to_vec(),
            [&sample.body[..], b"x"].concat(),
            b"null".to_vec(),
            b"{}".to_vec(),
            b"[{}]".to_vec(),
            format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes(),
        ];
        for body in bodies {
            let url = format!("https://hooks.example.com/webhooks/acme/{name}");
            let outgoing =
                Outgoing { url: &url, id: "smpl0001", event_type: sample.event_type, now: setup.now, body: &body };
            let signed = setup.vendor.sign(&outgoing, &secret(&setup.signing)).expect("a signing secret");
            let headers = signed.into_iter().collect();
            let delivery =
                Delivery { method: http::Method::POST, url: url.clone(), headers, body: body.clone(), now: setup.now };
            // GitHub and Shopify have type and id in headers: any object will do.
            let usable = body == b"{}" && ["github", "shopify"].contains(&name);
            assert_eq!(setup.read(&delivery).is_ok(), usable, "{name}: {}", body.escape_ascii());
        }
    }
}

/// A request whose time is written as `text` and signed so.
fn signed_with_time(name: &str, setup: &Setup, text: &str) -> Delivery {
    let mut delivery = setup.sample("smpl0001", setup.now);
    let code = |parts: &[&[u8]]| {
        let key = match name {
            "openai" | "standard" | "svix" => {
                STANDARD.decode(setup.secret.strip_prefix("whsec_").expect("a prefix")).expect("base64")
            }
            _ => setup.secret.clone().into_bytes(),
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().to_vec()
    };
    let (body, time) = (delivery.body.clone(), text.as_bytes());
    let mut set = |name: &'static str, value: String| {
        delivery.headers.insert(HeaderName::from_static(name), value.parse().expect("a header's value"));
    };
    match name {
        "generic" => {
            set("x-signature", hex::encode(code(&[time, b".", &body])));
            set("x-timestamp", text.to_owned());
        }
        "stripe" => set("stripe-signature", format!("t={text},v1={}", hex::encode(code(&[time, b".", &body])))),
        "slack" => {
            set("x-slack-signature", format!("v0={}", hex::encode(code(&[b"v0:", time, b":", &body]))));
            set("x-slack-request-timestamp", text.to_owned());
        }
        "zoom" => {
            set("x-zm-signature", format!("v0={}", hex::encode(code(&[b"v0:", time, b":", &body]))));
            set("x-zm-request-timestamp", text.to_owned());
        }
        "hubspot" => {
            let url = delivery.url.clone();
            let code = code(&[b"POST", url.as_bytes(), &body, time]);
            delivery.headers.insert("x-hubspot-signature-v3", STANDARD.encode(code).parse().expect("a value"));
            delivery.headers.insert("x-hubspot-request-timestamp", text.parse().expect("a value"));
        }
        "openai" | "standard" => {
            let code = code(&[b"smpl0001.", time, b".", &body]);
            set("webhook-signature", format!("v1,{}", STANDARD.encode(code)));
            set("webhook-timestamp", text.to_owned());
        }
        "svix" => {
            let code = code(&[b"smpl0001.", time, b".", &body]);
            set("svix-signature", format!("v1,{}", STANDARD.encode(code)));
            set("svix-timestamp", text.to_owned());
        }
        other => panic!("how does {other} sign?"),
    }
    delivery
}

#[test]
fn only_plain_digits_are_a_signed_time() {
    for name in ["generic", "stripe", "slack", "zoom", "hubspot", "openai", "standard", "svix"] {
        let setup = Setup::new(name);
        let (plain, wrong_unit) =
            if name == "hubspot" { ("1700000000000", None) } else { ("1700000000", Some("1700000000000")) };
        assert!(setup.verify(&signed_with_time(name, &setup, plain)).is_ok(), "{name}");
        for text in [
            format!("+{plain}"),
            format!("-{plain}"),
            format!("{plain}.0"),
            format!("{plain}.9"),
            format!("{plain}abc"),
            format!("0x{plain}"),
            format!("{plain}e0"),
            "NaN".to_owned(),
            "Infinity".to_owned(),
            "now".to_owned(),
            "9223372036854775808".to_owned(),
            "100000000000000000000".to_owned(),
        ]
        .into_iter()
        .chain(wrong_unit.map(str::to_owned))
        {
            let result = setup.verify(&signed_with_time(name, &setup, &text));
            assert_eq!(result, Err(Refusal::MalformedSignature), "{name} {text}");
        }
    }
    // Seconds where milliseconds belong lie in 1970.
    let setup = Setup::new("hubspot");
    let result = setup.verify(&signed_with_time("hubspot", &setup, "1700000000"));
    assert_eq!(result, Err(Refusal::StaleTimestamp));
}
