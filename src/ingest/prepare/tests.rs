use serde_json::json;

use super::*;
use crate::{
    config::{Config, Input},
    secrets::Environment,
    trace::Untraced,
    vendors::OnConflict,
};

const TENANT: &str = r#"
[sources.payments]
vendor = "stripe"
secrets = ["env:KEY"]
[[sources.payments.routes]]
name = "paid"
event_types = ["invoice.paid"]
action = "log"
[[sources.payments.routes]]
name = "invoices"
event_types = ["invoice.*"]
action = "log"
[[sources.payments.routes]]
name = "large"
event_types = ["*"]
filter = [{ pointer = "/data/amount_due", any_of = [4900, 9900] }, { pointer = "/event_type", any_of = ["charge.failed", "invoice.paid"] }]
action = "log"

[sources.crm]
vendor = "hubspot"
secrets = ["env:CRM"]

[sources.events]
vendor = "generic"
secrets = ["env:EVENTS"]
redact = [{ pointer = "/data/name", method = "mask" }]
"#;

fn config() -> Config {
    Input::new("cfg")
        .main("[edge]\npublic_url = 'https://hooks.example.com'")
        .environment(Environment::fixed([("KEY", "whsec_one"), ("CRM", "two"), ("EVENTS", "three")]))
        .tenant("acme", TENANT)
        .resolve()
        .expect("a right configuration")
}

fn source(config: &Config, name: &str) -> Arc<Source> {
    let tenant = config.tenants.values().next().expect("a tenant");
    tenant.sources[&name.parse().expect("a name")].clone()
}

fn envelope(id: &str, event_type: &str, payload: Value) -> Envelope {
    Envelope {
        external_id: id.to_owned(),
        id_signed: true,
        id_derived: false,
        event_type: event_type.to_owned(),
        subject_id: None,
        occurred_at: None,
        api_version: Some("v1".to_owned()),
        payload,
        unsigned_topic: None,
        signed_instead: None,
    }
}

fn invoice(amount: i64) -> Value {
    json!({
        "id": "evt_1", "object": "event", "type": "invoice.paid", "created": 1, "livemode": true, "pending_webhooks": 1,
        "data": {"object": {
            "id": "in_1", "object": "invoice", "currency": "eur", "status": "paid", "created": 1, "customer": "cus_1",
            "amount_due": amount, "amount_paid": amount, "amount_remaining": 0,
        }},
    })
}

fn prepare_in(source: &Source, raw: &str, envelopes: Vec<Envelope>, drift: &Drift) -> Vec<NewEvent> {
    let delivery = Delivery {
        raw: Bytes::from(raw.to_owned()),
        headers: &HeaderMap::new(),
        received_at: Timestamp::from_secs(1_795_507_200),
        signed_at: None,
        secret_version: "env:KEY".into(),
        trace: DeliveryTrace::of(&HeaderMap::new(), false, &Untraced),
        drift,
    };
    prepare_all(source, envelopes, &delivery)
}

fn prepare_one(source: &Source, event_type: &str, payload: &Value) -> NewEvent {
    let raw = payload.to_string();
    let envelopes = vec![envelope("evt_1", event_type, payload.clone())];
    prepare_in(source, &raw, envelopes, &Drift::default()).remove(0)
}

fn routes(event: &NewEvent) -> Vec<&str> {
    event.jobs.iter().map(|job| job.route.as_str()).collect()
}

#[test]
fn every_matching_route_makes_a_job_of_its_own() {
    let payments = source(&config(), "payments");
    let event = prepare_one(&payments, "invoice.paid", &invoice(4900));
    assert_eq!((event.status, routes(&event)), (EventStatus::Stored, vec!["paid", "invoices", "large"]));
    let event = prepare_one(&payments, "invoice.paid", &invoice(100));
    assert_eq!(routes(&event), ["paid", "invoices"]);
    let event = prepare_one(&payments, "invoice.voided", &invoice(4900));
    assert_eq!(routes(&event), ["invoices"]);
}

#[test]
fn an_event_without_a_route_is_stored_unrouted_with_its_form() {
    let event = prepare_one(
        &source(&config(), "payments"),
        "radar.early_fraud_warning",
        &json!({"data": {"object": {"x": 1}}}),
    );
    assert_eq!((event.status, event.jobs.len()), (EventStatus::Unrouted, 0));
    assert_eq!(event.form.expect("a form").json, r#"{"x":1}"#);
}

#[test]
fn a_misfit_is_quarantined_with_a_reason_that_holds_no_value() {
    let payments = source(&config(), "payments");
    let mut payload = invoice(1);
    payload["data"]["object"]["id"] = json!({"ada@example.com": "4111111111111111"});
    let event = prepare_one(&payments, "invoice.paid", &payload);
    assert_eq!(event.status, EventStatus::Quarantined);
    assert!(event.form.is_none() && event.jobs.is_empty());
    let reason = event.quarantine_reason.expect("a reason");
    assert_eq!(reason, "/data/object/id: expected a string, found an object");

    // Its release says what still does not fit and makes a form all the same.
    let again = renormalise(&payments, "invoice.paid", &event.raw).expect("readable");
    assert_eq!(again.misfit, Some(reason));
    assert_eq!(again.data["currency"], "eur");
    assert_eq!(route_event(&payments, "invoice.paid", None, &again.data, Timestamp::default()).len(), 2);
}

#[test]
fn a_schema_of_the_operator_is_checked_after_the_built_in_one() {
    let mut config = config();
    let tenant = Arc::get_mut(config.tenants.values_mut().next().expect("a tenant")).expect("not shared");
    let schema = json!({
        "properties": {"amount_due": {"maximum": 1000}, "currency": {"enum": ["eur"]}},
        "additionalProperties": true,
    });
    let payments = tenant.sources.get_mut(&"payments".parse().expect("a name")).expect("a source");
    let validator = Arc::new(jsonschema::validator_for(&schema).expect("a schema"));
    let pattern = crate::config::TypePattern::parse("invoice.*").expect("a pattern");
    Arc::get_mut(payments).expect("not shared").schemas.push((pattern, validator));
    let payments = payments.clone();

    assert_eq!(prepare_one(&payments, "invoice.paid", &invoice(1000)).status, EventStatus::Stored);
    let event = prepare_one(&payments, "invoice.paid", &invoice(98_765));
    assert_eq!(event.status, EventStatus::Quarantined);
    let reason = event.quarantine_reason.expect("a reason");
    assert_eq!(reason, "/amount_due: does not satisfy `maximum` of the source's JSON Schema");
}

#[test]
fn each_element_of_a_batch_is_an_event_of_its_own() {
    let crm = source(&config(), "crm");
    let element = |id: i64| json!({"objectId": id, "eventId": id, "portalId": 1, "occurredAt": 1, "subscriptionType": "contact.creation"});
    let of = |elements: &[Value]| {
        let envelopes = elements
            .iter()
            .map(|element| envelope(&element["eventId"].to_string(), "contact.creation", element.clone()));
        prepare_in(&crm, &Value::from(elements).to_string(), envelopes.collect(), &Drift::default())
    };
    let both = of(&[element(1), element(2)]);
    assert_eq!(both.len(), 2);
    assert_ne!(both[0].dedupe_key, both[1].dedupe_key);
    assert_eq!(both[0].raw, element(1).to_string());
    assert_eq!(both[0].payload_hash, sha256(&both[0].raw));
    // Alone in its array it is the same event.
    let alone = of(&[element(2)]);
    assert_eq!((alone[0].dedupe_key, &alone[0].raw), (both[1].dedupe_key, &both[1].raw));
}

#[test]
fn the_hash_is_of_what_came_and_what_is_stored_is_redacted() {
    let events = source(&config(), "events");
    let payload = json!({"event_type": "a", "occurred_at": "2026-11-24T08:00:00Z", "subject_id": "s1", "data": {"name": "Ada", "n": 1}});
    let raw = payload.to_string();
    let event = prepare_one(&events, "a", &payload);
    assert_eq!(event.payload_hash, sha256(raw.as_bytes()));
    assert_eq!(event.stored_hash, sha256(&event.raw));
    assert!(event.redacted && event.stored_hash != event.payload_hash);
    assert_eq!(event.form.expect("a form").json, r#"{"n":1,"name":"[redacted]"}"#);

    let plain = json!({"event_type": "a", "data": {"n": 1}});
    let event = prepare_one(&events, "a", &plain);
    assert!(!event.redacted);
    assert_eq!((event.stored_hash, event.raw), (event.payload_hash, Bytes::from(plain.to_string())));
}

#[test]
fn a_subject_that_is_an_address_stays_one_subject_and_no_address() {
    let events = source(&config(), "events");
    let of = |subject: &str| {
        let mut one = envelope("1", "a", json!({"data": {}}));
        one.subject_id = Some(subject.to_owned());
        prepare_in(&events, "{}", vec![one], &Drift::default()).remove(0).subject_id.expect("a subject")
    };
    assert!(of("ada@example.com").starts_with("[hash:"));
    assert_eq!(of("ada@example.com"), of("ada@example.com"));
    assert_ne!(of("ada@example.com"), of("bob@example.com"));
    assert_eq!(of("cus_1"), "cus_1");
}

#[test]
fn drift_is_counted_by_schema_and_version() {
    let payments = source(&config(), "payments");
    let drift = Drift::default();
    let mut payload = invoice(1);
    payload["data"]["object"]["unheard_of"] = json!(1);
    prepare_in(&payments, "{}", vec![envelope("1", "invoice.paid", payload)], &drift);
    let rows = drift.rows();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].schema.as_str(), rows[0].path.as_str()), ("invoice", "/data/object/unheard_of"));
    assert_eq!(rows[0].api_version.as_deref(), Some("v1"));
}

#[test]
fn an_unsigned_id_gets_a_replay_key_and_keys_that_expire_only_with_a_signed_time() {
    let events = source(&config(), "events");
    let mut one = envelope("1", "a", json!({"data": {}}));
    one.id_signed = false;
    let event = prepare_in(&events, "{}", vec![one], &Drift::default()).remove(0);
    assert!(event.replay_key.is_some());
    assert_eq!(event.keys_expire, events.vendor.profile().signs_time);
    assert_eq!(event.on_conflict, OnConflict::Revision);
    assert_eq!(event.occurred_at, event.received_at);
}

#[test]
fn a_version_that_is_none_is_not_kept() {
    let source = source(&config(), "payments");
    for (version, kept) in [("2026-06-24.dahlia", true), (&*"v".repeat(65), false), ("v1\n", false)] {
        let event = envelope("evt_1", "invoice.paid", invoice(1));
        let event = Envelope { api_version: Some(version.to_owned()), ..event };
        let prepared = prepare_in(&source, "{}", vec![event], &Drift::default()).remove(0);
        assert_eq!(prepared.api_version.is_some(), kept, "{version:?}");
    }
}
