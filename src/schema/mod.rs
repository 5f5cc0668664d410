//! Normalised, versioned events: what a vendor's payload must hold, what is made of it, and how far
//! it has drifted from what its documentation says.
//!
//! One file per vendor holds a [`Catalog`]: the version of the vendor's normalised form, where the
//! object that an event is about lies in the payload, and one [`Schema`] for each family of event
//! types. To add a schema, add one entry to the vendor's catalog and one fitting payload under the
//! same name to `tests/fixtures/schema/<vendor>.json`; to change what a form looks like, raise the
//! catalog's version.
//!
//! Schemas require only what normalisation needs, so that a vendor who adds, renames or retypes a
//! field that nobody reads is counted ([`drift`]) and not quarantined.

pub mod drift;
mod shape;
mod vendors;

use std::borrow::Cow;

use serde_json::{Map, Value};
use sluice_actors::domain::type_fits;

pub use drift::Drift;
pub use shape::{Field, Need};
pub use vendors::CATALOGS;

/// All that is known of one vendor's payloads.
#[derive(Debug)]
pub struct Catalog {
    /// The vendor's name in the configuration.
    pub vendor: &'static str,
    /// The version of the normalised form. Raised whenever the same payload gives another form.
    pub version: u32,
    /// JSON pointer to the object that an event is about; empty: the payload itself. A payload
    /// without it is taken whole.
    pub body: &'static str,
    /// JSON pointers to fields beside the body that the form keeps, below `_context`.
    pub context: &'static [&'static str],
    /// The schemas; the first that matches an event type holds.
    pub schemas: &'static [Schema],
}

/// What the payloads of some event types hold.
#[derive(Debug)]
pub struct Schema {
    /// Its name, unique within the vendor: `invoice`. Bounded, so it serves as a metric label.
    pub name: &'static str,
    /// Event types, exact or a prefix ending in `*`.
    pub types: &'static [&'static str],
    /// The objects it knows; fields of others are not looked at.
    pub objects: &'static [Object],
}

/// One object within a payload.
#[derive(Debug)]
pub struct Object {
    /// JSON pointer to it; empty: the payload itself.
    pub at: &'static str,
    /// Whether the vendor's documentation lists all its fields here, so that others are drift.
    pub closed: bool,
    /// Its fields.
    pub fields: &'static [Field],
}

/// A payload does not hold what normalisation needs. Names the place, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: expected {expected}, found {found}")]
pub struct Misfit {
    /// JSON pointer into the payload.
    pub path: String,
    /// What should be there.
    pub expected: Cow<'static, str>,
    /// What kind of value is there.
    pub found: &'static str,
}

/// One difference from the vendor's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Deviation {
    /// Of which sort.
    pub kind: DeviationKind,
    /// JSON pointer to the field.
    pub path: String,
}

/// The sorts of drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviationKind {
    /// A field that the schema does not name.
    Unknown,
    /// A field that is always there by the documentation, and was not.
    Missing,
    /// A field with a value of another type.
    Retyped,
}

impl DeviationKind {
    /// All sorts.
    pub const ALL: [Self; 3] = [Self::Unknown, Self::Missing, Self::Retyped];

    /// The word for labels and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Missing => "missing",
            Self::Retyped => "retyped",
        }
    }
}

/// What [`Catalog::check`] found.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// The schema that holds for the type; none where only the envelope is known.
    pub schema: Option<&'static str>,
    /// How the payload differs from it.
    pub deviations: Vec<Deviation>,
}

/// The catalog of a vendor; of an unknown one, a catalog without schemas.
pub fn catalog(vendor: &str) -> &'static Catalog {
    const PLAIN: Catalog = Catalog { vendor: "custom", version: 1, body: "", context: &[], schemas: &[] };
    CATALOGS.iter().find(|catalog| catalog.vendor == vendor).unwrap_or(&PLAIN)
}

impl Catalog {
    /// The schema of an event type.
    pub fn schema(&self, event_type: &str) -> Option<&'static Schema> {
        self.schemas.iter().find(|schema| schema.types.iter().any(|pattern| type_fits(pattern, event_type)))
    }

    /// Checks a payload against the schema of its type. A type without one always fits.
    pub fn check(&self, event_type: &str, payload: &Value) -> Result<Checked, Misfit> {
        let Some(schema) = self.schema(event_type) else {
            return Ok(Checked::default());
        };
        let mut deviations = Vec::new();
        for object in schema.objects {
            match payload.pointer(object.at) {
                Some(Value::Object(map)) => object.check(map, &mut deviations)?,
                found => {
                    return Err(Misfit {
                        path: shown(object.at),
                        expected: Cow::Borrowed("an object"),
                        found: shape::kind(found),
                    });
                }
            }
        }
        Ok(Checked { schema: Some(schema.name), deviations })
    }

    /// The `data` of the normalised form: the fields of the object that the event is about, under
    /// the vendor's own names, with the kept surroundings below `_context`. A body that is not an
    /// object becomes `{"value": …}`.
    pub fn data(&self, mut payload: Value) -> Value {
        if self.body.is_empty() || payload.pointer(self.body).is_none() {
            return object(payload);
        }
        let mut context = Map::new();
        for pointer in self.context {
            if let Some(value) = payload.pointer_mut(pointer).map(Value::take).filter(|value| !value.is_null()) {
                let name = pointer.rsplit('/').next().unwrap_or_default();
                context.insert(name.to_owned(), value);
            }
        }
        let mut data = object(payload.pointer_mut(self.body).map(Value::take).unwrap_or_default());
        if let (false, Value::Object(map)) = (context.is_empty(), &mut data) {
            map.insert("_context".to_owned(), Value::Object(context));
        }
        data
    }
}

impl Object {
    fn check(&self, map: &Map<String, Value>, deviations: &mut Vec<Deviation>) -> Result<(), Misfit> {
        let mut known = 0;
        for field in self.fields {
            let value = map.get(field.name);
            known += usize::from(value.is_some());
            let kind = match (value, field.need) {
                (None | Some(Value::Null), Need::Optional) => continue,
                (Some(value), _) if field.fits(value) => continue,
                (_, Need::Required) => {
                    return Err(Misfit {
                        path: format!("{}/{}", self.at, field.name),
                        expected: Cow::Borrowed(field.expected),
                        found: shape::kind(value),
                    });
                }
                (None | Some(Value::Null), Need::Usual) => DeviationKind::Missing,
                (Some(_), _) => DeviationKind::Retyped,
            };
            deviations.push(Deviation { kind, path: format!("{}/{}", self.at, field.name) });
        }
        if self.closed && known < map.len() {
            let unknown = map.keys().filter(|name| !self.fields.iter().any(|field| field.name == name.as_str()));
            deviations.extend(unknown.map(|name| Deviation {
                kind: DeviationKind::Unknown,
                path: format!("{}/{}", self.at, printable(name)),
            }));
        }
        Ok(())
    }
}

fn object(value: Value) -> Value {
    match value {
        Value::Object(_) => value,
        value => Value::Object(Map::from_iter([("value".to_owned(), value)])),
    }
}

fn shown(pointer: &str) -> String {
    if pointer.is_empty() { "/".to_owned() } else { pointer.to_owned() }
}

/// A key as it may be shown: one that does not look like a field's name may be a person's data.
fn printable(name: &str) -> &str {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$'));
    if plain && (1..=64).contains(&name.len()) { name } else { "?" }
}
