//! Handshakes are answered after their signature verified, and never otherwise; and what the answers
//! to stored events look like where the sender reads them.

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use sluice::{
    config::Input,
    secrets::Environment,
    vendors::{Answer, Envelope, Outgoing, Reading, Refusal, Request},
};
use sluice_actors::domain::{LaneKey, Timestamp};

use super::{Delivery, Setup, secret};

/// A body of our own, signed as the vendor would.
fn signed(setup: &Setup, body: impl Into<Vec<u8>>, media: &str) -> Delivery {
    let (body, url) = (body.into(), format!("https://hooks.example.com/webhooks/acme/{}", setup.vendor.name()));
    let outgoing = Outgoing { url: &url, id: "smpl0001", event_type: "message", now: setup.now, body: &body };
    let headers: HeaderMap =
        setup.vendor.sign(&outgoing, &secret(&setup.signing)).expect("a signing secret").into_iter().collect();
    Delivery { method: Method::POST, url: url.clone(), headers, body, now: setup.now }.with("content-type", media)
}

fn json_signed(setup: &Setup, body: &Value) -> Delivery {
    signed(setup, body.to_string(), "application/json")
}

fn form_signed(setup: &Setup, body: &str) -> Delivery {
    signed(setup, body, "application/x-www-form-urlencoded; charset=UTF-8")
}

fn handshake(setup: &Setup, delivery: &Delivery) -> Answer {
    match setup.read(delivery) {
        Ok(Reading::Handshake(answer)) => answer,
        other => panic!("no handshake but {other:?}"),
    }
}

fn event(setup: &Setup, delivery: &Delivery) -> Envelope {
    setup.events(delivery).pop().expect("an event")
}

fn unsigned(delivery: &Delivery) -> Delivery {
    Delivery { headers: HeaderMap::new(), ..delivery.clone() }
}

#[test]
fn slack_gets_its_challenge_back() {
    let setup = Setup::new("slack");
    let delivery = json_signed(&setup, &json!({"type": "url_verification", "challenge": "3eZbrw1a", "token": "x"}));
    let answer = handshake(&setup, &delivery);
    assert_eq!((answer.status, answer.content_type), (StatusCode::OK, Some("application/json")));
    assert_eq!(answer.body, br#"{"challenge":"3eZbrw1a"}"#);
    assert_eq!(setup.verify(&unsigned(&delivery)), Err(Refusal::MissingSignature));
    let long = json_signed(&setup, &json!({"type": "url_verification", "challenge": "x".repeat(513)}));
    assert!(setup.read(&long).is_err());
}

#[test]
fn slack_ssl_checks_are_no_way_around_the_signature() {
    let setup = Setup::new("slack");
    let delivery = form_signed(&setup, "ssl_check=1&token=x&command=%2Fdeploy");
    assert_eq!(setup.verify(&unsigned(&delivery)), Err(Refusal::MissingSignature));
    assert_eq!(handshake(&setup, &delivery).body, b"");
}

#[test]
fn slack_commands_and_interactivity_get_a_derived_id_and_an_empty_answer() {
    let setup = Setup::new("slack");
    let command = form_signed(&setup, "command=%2Fdeploy&text=now+please&user_id=U1&trigger_id=1.2.abc");
    let read = event(&setup, &command);
    assert_eq!((read.event_type.as_str(), read.id_derived, read.id_signed), ("slash_command", true, true));
    assert_eq!(read.payload["text"], "now please");
    assert_eq!(read.external_id, event(&setup, &command).external_id);
    let other = form_signed(&setup, "command=%2Fdeploy&text=now+please&user_id=U1&trigger_id=1.2.abd");
    assert_ne!(read.external_id, event(&setup, &other).external_id);
    let answer = setup.vendor.success_answer(&command.request()).expect("an answer");
    assert_eq!((answer.status, answer.content_type, answer.body.len()), (StatusCode::OK, None, 0));

    let payload = json!({"type": "block_actions", "trigger_id": "1.2.x", "actions": [{"value": "a&b"}]}).to_string();
    let encoded: String =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload).finish();
    let read = event(&setup, &form_signed(&setup, &encoded));
    assert_eq!((read.event_type.as_str(), read.id_derived), ("block_actions", true));
    assert_eq!(read.payload["actions"][0]["value"], "a&b");

    for broken in ["payload=%7B", "payload=%7B%7D&payload=%7B%7D", "text=x", "payload=%7B%22type%22%3A1%7D"] {
        assert!(setup.read(&form_signed(&setup, broken)).is_err(), "{broken}");
    }
    assert_eq!(setup.vendor.success_answer(&setup.fixture("genuine").request()), None);
}

#[test]
fn slack_rate_limit_notices_have_a_derived_id() {
    let setup = Setup::new("slack");
    let notice = |minute: i64| {
        let body =
            json!({"type": "app_rate_limited", "team_id": "T1", "minute_rate_limited": minute, "api_app_id": "A1"});
        event(&setup, &json_signed(&setup, &body))
    };
    assert!(notice(1_700_000_000).id_derived);
    assert_eq!(notice(1_700_000_000).external_id, notice(1_700_000_000).external_id);
    assert_ne!(notice(1_700_000_000).external_id, notice(1_700_000_060).external_id);
}

#[test]
fn zoom_validation_is_answered_with_the_key_that_verified_it() {
    let mut setup = Setup::new("zoom");
    let body =
        json!({"event": "endpoint.url_validation", "event_ts": 1, "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}});
    let delivery = json_signed(&setup, &body);
    setup.keys.insert(0, setup.vendor.key(&secret("a newer secret")).expect("a key"));
    let answer: Value = serde_json::from_slice(&handshake(&setup, &delivery).body).expect("JSON");
    // printf qgg8vlvZRS6UYooatFL8Aw | openssl dgst -sha256 -hmac zoom_secret_token
    assert_eq!(answer["plainToken"], "qgg8vlvZRS6UYooatFL8Aw");
    assert_eq!(answer["encryptedToken"], "bd48235863f4a6323ccc4963c594908b7c97f88b4a6a95278f4f093690b12726");
    assert_eq!(setup.verify(&unsigned(&delivery)), Err(Refusal::MissingSignature));
}

/// Answering this would hand out the signature of a body that the asker chose.
#[test]
fn zoom_validation_does_not_sign_texts_that_look_signed() {
    let setup = Setup::new("zoom");
    for token in [json!("v0:1700000000:{\"event\":\"x\"}"), json!(""), json!("a b"), json!(1), json!("x".repeat(257))] {
        let body = json!({"event": "endpoint.url_validation", "payload": {"plainToken": token}});
        assert!(setup.read(&json_signed(&setup, &body)).is_err(), "{token}");
    }
}

#[test]
fn zoom_events_are_told_apart_by_moment_object_and_participant() {
    let setup = Setup::new("zoom");
    let id = |moment: i64, uuid: &str, user: &str, token: &str| {
        let body = json!({"event": "meeting.participant_joined", "event_ts": moment, "download_token": token,
            "payload": {"account_id": "a", "object": {"uuid": uuid, "participant": {"user_id": user}}}});
        let read = event(&setup, &json_signed(&setup, &body));
        assert!(read.id_derived);
        read.external_id
    };
    assert_eq!(id(1, "u", "p", "x"), id(1, "u", "p", "y"));
    for other in [id(2, "u", "p", "x"), id(1, "v", "p", "x"), id(1, "u", "q", "x")] {
        assert_ne!(id(1, "u", "p", "x"), other);
    }
}

#[test]
fn discord_pings_are_answered_as_each_protocol_asks() {
    let setup = Setup::new("discord");
    let webhook = json_signed(&setup, &json!({"version": 1, "application_id": "1", "type": 0}));
    assert_eq!(
        handshake(&setup, &webhook),
        Answer { status: StatusCode::NO_CONTENT, content_type: None, body: vec![] }
    );
    let interaction = json_signed(&setup, &json!({"id": "1", "application_id": "1", "type": 1, "token": "t"}));
    let answer = handshake(&setup, &interaction);
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &br#"{"type":1}"#[..]));
    for delivery in [webhook, interaction] {
        assert_eq!(setup.verify(&unsigned(&delivery)), Err(Refusal::MissingSignature));
        let forged = delivery.with("x-signature-ed25519", &"00".repeat(64));
        assert_eq!(setup.verify(&forged), Err(Refusal::BadSignature));
    }
}

#[test]
fn discord_interactions_are_deferred_and_events_get_an_empty_answer() {
    let setup = Setup::new("discord");
    assert_eq!(setup.vendor.profile().success, StatusCode::NO_CONTENT);
    assert_eq!(setup.vendor.success_answer(&setup.fixture("genuine").request()), None);
    for (kind, event_type, answer) in [
        (2, "interaction.application_command", 5),
        (3, "interaction.message_component", 6),
        (4, "interaction.autocomplete", 8),
        (5, "interaction.modal_submit", 5),
    ] {
        let delivery = json_signed(&setup, &json!({"id": "846462639134605312", "type": kind, "token": "t"}));
        let read = event(&setup, &delivery);
        assert_eq!((read.event_type.as_str(), read.external_id.as_str()), (event_type, "846462639134605312"));
        let body = setup.vendor.success_answer(&delivery.request()).expect("an answer").body;
        assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON")["type"], answer);
    }
}

#[test]
fn notion_offers_a_token_only_with_a_request_signed_by_it() {
    let mut setup = Setup::new("notion");
    setup.signing = "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl".to_owned();
    let body = json!({"verification_token": setup.signing});
    let first = json_signed(&setup, &body);
    let offered = setup.vendor.offered_secret(&first.request()).expect("a token");
    assert_eq!(offered.expose_str(), Some(setup.signing.as_str()));
    // Over a live secret it is just a bad signature; under the token itself it is a handshake.
    assert_eq!(setup.verify(&first), Err(Refusal::BadSignature));
    setup.keys = vec![setup.vendor.key(&offered).expect("a key")];
    assert_eq!(handshake(&setup, &first), Answer { status: StatusCode::OK, content_type: None, body: vec![] });

    setup.signing = "another".to_owned();
    assert!(setup.vendor.offered_secret(&json_signed(&setup, &body).request()).is_none());
    assert!(setup.vendor.offered_secret(&unsigned(&first).request()).is_none());
    let endless = "s".repeat(10_000);
    setup.signing.clone_from(&endless);
    assert!(
        setup.vendor.offered_secret(&json_signed(&setup, &json!({"verification_token": endless})).request()).is_none()
    );
    for name in ["slack", "stripe", "generic"] {
        assert!(Setup::new(name).vendor.offered_secret(&first.request()).is_none(), "{name}");
    }
}

#[test]
fn twilio_gets_empty_instructions() {
    let setup = Setup::new("twilio");
    let answer = setup.vendor.success_answer(&setup.fixture("genuine").request()).expect("an answer");
    assert_eq!(answer.content_type, Some("text/xml"));
    assert!(answer.body.ends_with(b"<Response/>"));
}

#[test]
fn twilio_callbacks_that_repeat_a_status_are_told_apart_by_content() {
    let setup = Setup::new("twilio");
    let gather = |digits: &str| {
        event(&setup, &form_signed(&setup, &format!("CallSid=CA1&CallStatus=in-progress&Digits={digits}")))
    };
    assert_eq!((gather("1").event_type.as_str(), gather("1").id_derived), ("call.in-progress", true));
    assert_eq!(gather("1").external_id, gather("1").external_id);
    assert_ne!(gather("1").external_id, gather("2").external_id);
    let message = event(&setup, &form_signed(&setup, "MessageSid=SM1&MessageStatus=sent&SmsSid=SM1"));
    assert_eq!((message.external_id.as_str(), message.id_derived), ("SM1:sent", false));
}

#[test]
fn github_forms_and_pings_are_events() {
    let setup = Setup::new("github");
    let payload = json!({"zen": "Keep it logically awesome.", "hook_id": 1}).to_string();
    let encoded: String =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload).finish();
    let ping = form_signed(&setup, &encoded).with("x-github-event", "ping");
    let read = event(&setup, &ping);
    assert_eq!((read.event_type.as_str(), read.unsigned_topic.as_deref()), ("ping", Some("ping")));
    assert_eq!(read.payload["hook_id"], 1);
}

#[test]
fn stripe_thin_events_are_read_from_the_same_scheme() {
    let setup = Setup::new("stripe");
    let body = json!({"id": "evt_test_65R", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered",
        "created": "2023-11-14T22:13:20.250Z", "livemode": false,
        "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"}});
    let read = event(&setup, &json_signed(&setup, &body));
    assert_eq!((read.external_id.as_str(), read.subject_id.as_deref()), ("evt_test_65R", Some("mtr_1")));
    assert_eq!(read.occurred_at.map(sluice_actors::domain::Timestamp::as_millis), Some(1_700_000_000_250));
    assert!(setup.read(&json_signed(&setup, &json!({"id": "evt_1", "object": "list", "type": "x"}))).is_err());
}

#[test]
fn hubspot_batches_are_read_element_by_element() {
    let setup = Setup::new("hubspot");
    let element = |event: i64, attempt: i64| {
        json!({"eventId": event, "portalId": 33, "subscriptionType": "deal.creation", "objectId": 9_007_199_254_740_993_i64,
            "occurredAt": 1_700_000_000_123_i64, "attemptNumber": attempt})
    };
    let batch = |elements: Vec<Value>| json_signed(&setup, &Value::Array(elements));
    let events = setup.events(&batch(vec![element(1, 0), element(2, 3)]));
    assert_eq!(events[0].external_id, "33:deal.creation:9007199254740993:1:1700000000123");
    assert_eq!(events[0].subject_id.as_deref(), Some("deal:9007199254740993"));
    assert_eq!(events[1].payload["attemptNumber"], 3);
    assert_eq!(setup.events(&batch((0..100).map(|n| element(n, 0)).collect())).len(), 100);
    for broken in
        [vec![], (0..101).map(|n| element(n, 0)).collect(), vec![element(1, 0), json!(1)], vec![json!({"eventId": 1})]]
    {
        assert!(setup.read(&batch(broken)).is_err());
    }
    assert!(setup.read(&json_signed(&setup, &element(1, 0))).is_err());
}

/// The token is a credential like any other: the file names it, the scheme gets its value.
#[test]
fn a_custom_handshake_token_is_looked_up_by_the_configuration() {
    let tenant = |token: &str| {
        format!(
            "[sources.pages]\nvendor = 'custom'\nsecrets = ['env:APP']\n[sources.pages.scheme]\n\
             algorithm = 'hmac-sha256'\nsignature = {{ header = 'X-Hub-Signature-256', prefix = 'sha256=', encoding = 'hex' }}\n\
             signed = '{{body}}'\n\
             handshake = {{ query_token = 'hub.verify_token', query_challenge = 'hub.challenge', token = '{token}' }}"
        )
    };
    let resolve = |token: &str| {
        let environment = Environment::fixed([("APP", "app secret"), ("TOKEN", "open sesame")]);
        Input::new("cfg").environment(environment).tenant("acme", tenant(token)).resolve()
    };
    let config = resolve("env:TOKEN").expect("a valid configuration");
    let lane = LaneKey::new("acme".parse().expect("a name"), "pages".parse().expect("a name"));
    let (_, source) = config.source(&lane).expect("a source");
    let headers = HeaderMap::new();
    let ask = |token: &str| {
        let url = format!("https://hooks.example.com/?hub.verify_token={token}&hub.challenge=115");
        let request =
            Request { method: &Method::GET, url: &url, headers: &headers, body: b"", now: Timestamp::from_secs(0) };
        source.vendor.get_handshake(&request, &[]).expect("a handshake").map(|answer| answer.body)
    };
    assert_eq!(ask("open+sesame"), Ok(b"115".to_vec()));
    assert_eq!(ask("env:TOKEN"), Err(Refusal::BadSignature));
    for missing in ["env:NONE", "plain"] {
        let error = resolve(missing).expect_err("no such token").to_string();
        assert!(error.contains("scheme.handshake.token"), "{error}");
    }
}
