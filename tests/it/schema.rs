//! Every schema of every vendor against a fitting, a lacking, a mistyped and an extended body. The
//! table is the registry itself: a schema without a fitting body in `tests/fixtures/schema/` fails.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use serde_json::{Value, json};
use sluice::{
    schema::{CATALOGS, Catalog, Checked, Deviation, DeviationKind, Field, Need, Object, Schema},
    vendors,
};
use sluice_actors::domain::Timestamp;

#[derive(Deserialize)]
struct Fitting {
    #[serde(rename = "type")]
    event_type: String,
    payload: Value,
}

fn fixtures(catalog: &Catalog) -> BTreeMap<String, Fitting> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/schema/{}.json", catalog.vendor));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs `case` for every schema with its fitting body; the text names the schema in failures.
fn each_schema(case: impl Fn(&str, &'static Catalog, &'static Schema, &Fitting)) {
    for catalog in CATALOGS {
        let fixtures = fixtures(catalog);
        for schema in catalog.schemas {
            let name = format!("{}/{}", catalog.vendor, schema.name);
            let fitting = fixtures.get(schema.name).unwrap_or_else(|| panic!("{name} has no fitting body"));
            case(&name, catalog, schema, fitting);
        }
        assert_eq!(fixtures.len(), catalog.schemas.len(), "{}: a body without a schema", catalog.vendor);
    }
}

/// Runs `case` for every field that the fitting body has.
fn each_field(case: impl Fn(&str, &'static Catalog, &Fitting, &Object, &Field)) {
    each_schema(|name, catalog, schema, fitting| {
        for object in schema.objects {
            for field in object.fields {
                // Objects of one place add up; the strongest need of a field holds.
                let weaker = schema
                    .objects
                    .iter()
                    .filter(|other| other.at == object.at)
                    .any(|other| other.fields.iter().any(|same| same.name == field.name && same.need < field.need));
                let there = fitting.payload.pointer(object.at).is_some_and(|object| object.get(field.name).is_some());
                if there && !weaker {
                    case(&format!("{name}{}/{}", object.at, field.name), catalog, fitting, object, field);
                }
            }
        }
    });
}

fn edited(fitting: &Fitting, object: &Object, edit: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Value {
    let mut payload = fitting.payload.clone();
    edit(payload.pointer_mut(object.at).and_then(Value::as_object_mut).expect("an object"));
    payload
}

fn path(object: &Object, field: &str) -> String {
    format!("{}/{field}", object.at)
}

fn has(checked: &Checked, kind: DeviationKind, path: String) -> bool {
    checked.deviations.contains(&Deviation { kind, path })
}

#[test]
fn a_fitting_body_fits_without_drift() {
    each_schema(|name, catalog, schema, fitting| {
        let found = catalog.schema(&fitting.event_type).map(|found| found.name);
        assert_eq!(found, Some(schema.name), "{name}: another schema holds for {}", fitting.event_type);
        let checked = catalog.check(&fitting.event_type, &fitting.payload);
        let checked = checked.unwrap_or_else(|misfit| panic!("{name}: {misfit}"));
        assert_eq!(checked.deviations, [], "{name}");
        assert!(catalog.data(fitting.payload.clone()).is_object(), "{name}");
    });
}

#[test]
fn a_body_that_lacks_a_required_field_does_not_fit_and_one_that_lacks_another_is_drift() {
    each_field(|name, catalog, fitting, object, field| {
        let payload = edited(fitting, object, |map| {
            map.remove(field.name);
        });
        match (catalog.check(&fitting.event_type, &payload), field.need) {
            (Err(misfit), Need::Required) => assert_eq!(misfit.path, path(object, field.name), "{name}"),
            (Ok(checked), Need::Usual) => {
                assert!(has(&checked, DeviationKind::Missing, path(object, field.name)), "{name}");
            }
            (Ok(checked), Need::Optional) => assert_eq!(checked.deviations, [], "{name}"),
            // Another object of the schema may lie below the field.
            (Err(misfit), _) => assert!(misfit.path.starts_with(&path(object, field.name)), "{name}: {misfit}"),
            (Ok(_), Need::Required) => panic!("{name}: fits without it"),
        }
    });
}

#[test]
fn a_mistyped_required_field_does_not_fit_and_another_is_drift() {
    let others = [json!(true), json!(1), json!("x"), json!([]), json!({}), json!([[1]])];
    each_field(|name, catalog, fitting, object, field| {
        let Some(wrong) = others.iter().find(|value| !field.fits(value)) else {
            return;
        };
        let payload = edited(fitting, object, |map| {
            map.insert(field.name.to_owned(), wrong.clone());
        });
        match (catalog.check(&fitting.event_type, &payload), field.need) {
            (Err(misfit), Need::Required) => {
                assert_eq!(misfit.path, path(object, field.name), "{name}");
                assert_eq!(misfit.expected, field.expected, "{name}");
            }
            (Err(misfit), _) => assert!(misfit.path.starts_with(&path(object, field.name)), "{name}: {misfit}"),
            (Ok(checked), Need::Usual | Need::Optional) => {
                assert!(has(&checked, DeviationKind::Retyped, path(object, field.name)), "{name}");
            }
            (Ok(_), Need::Required) => panic!("{name}: fits as {wrong}"),
        }
    });
}

#[test]
fn an_extended_body_fits_keeps_what_is_new_and_is_drift_where_the_list_of_fields_is_whole() {
    each_schema(|name, catalog, schema, fitting| {
        for object in schema.objects {
            let payload = edited(fitting, object, |map| {
                map.insert("unheard_of".to_owned(), json!({"new": 1}));
            });
            let checked = catalog.check(&fitting.event_type, &payload);
            let checked = checked.unwrap_or_else(|misfit| panic!("{name}: {misfit}"));
            let closed = schema.objects.iter().any(|other| other.at == object.at && other.closed);
            assert_eq!(has(&checked, DeviationKind::Unknown, path(object, "unheard_of")), closed, "{name}");
            assert!(checked.deviations.len() <= 1, "{name}: {:?}", checked.deviations);
            if object.at == catalog.body {
                assert_eq!(catalog.data(payload)["unheard_of"], json!({"new": 1}), "{name}");
            }
        }
    });
}

#[test]
fn what_redaction_left_fits_any_type() {
    each_field(|name, catalog, fitting, object, field| {
        for mark in ["[redacted]", "[hash:00112233445566778899aabbccddeeff]"] {
            assert!(field.fits(&json!(mark)), "{name}");
        }
        let _ = (catalog, fitting, object);
    });
}

#[test]
fn an_unknown_type_and_an_unknown_vendor_normalise_with_the_envelope_alone() {
    let stripe = sluice::schema::catalog("stripe");
    let payload =
        json!({"id": "evt_1", "type": "radar.early", "data": {"object": {"id": "issfr_1"}}, "livemode": true});
    let checked = stripe.check("radar.early", &payload).unwrap();
    assert_eq!((checked.schema, checked.deviations.len()), (None, 0));
    assert_eq!(stripe.data(payload), json!({"id": "issfr_1", "_context": {"livemode": true}}));

    let custom = sluice::schema::catalog("custom");
    assert_eq!(custom.data(json!({"a": 1})), json!({"a": 1}));
    assert_eq!(custom.data(json!([1])), json!({"value": [1]}));
}

#[test]
fn a_misfit_names_path_and_expectation_and_never_a_value() {
    let misfit = sluice::schema::catalog("stripe")
        .check("invoice.paid", &json!({"data": {"object": {"id": ["4111111111111111", "ada@example.com"]}}}))
        .unwrap_err();
    assert_eq!(misfit.to_string(), "/data/object/id: expected a string, found an array");
}

#[test]
fn a_key_that_may_be_a_persons_data_is_not_shown_in_drift() {
    let fixture = &fixtures(sluice::schema::catalog("hubspot"))["object"];
    let mut payload = fixture.payload.clone();
    payload["ada@example.com"] = json!(1);
    let checked = sluice::schema::catalog("hubspot").check(&fixture.event_type, &payload).unwrap();
    assert_eq!(checked.deviations, [Deviation { kind: DeviationKind::Unknown, path: "/?".to_owned() }]);
}

#[test]
fn the_sample_of_every_vendor_fits_without_drift() {
    for name in vendors::NAMES {
        // A vendor that needs options (`custom`, `paypal`) has its sample checked with its adapter.
        let Some(Ok(vendor)) = vendors::build(name, &toml::Table::new()) else { continue };
        let sample = vendor.sample("1", Timestamp::from_secs(1_795_507_200));
        let Some(payload) = sluice::redact::read_stored(&sample.body) else { panic!("{name}: unreadable sample") };
        let payload = match payload {
            Value::Array(mut elements) => elements.remove(0),
            payload => payload,
        };
        let checked = sluice::schema::catalog(name).check(sample.event_type, &payload);
        let checked = checked.unwrap_or_else(|misfit| panic!("{name}: {misfit}"));
        assert_eq!(checked.deviations, [], "{name}");
    }
}
