//! Our own scheme: `{event_type, subject_id, occurred_at, data}`.

use super::super::{
    Catalog, Object, Schema,
    shape::{Map, Text, optional, required},
};

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "generic",
    version: 1,
    body: "/data",
    context: &[],
    schemas: &[Schema {
        name: "assistant.completed",
        types: &["assistant.completed"],
        objects: &[Object {
            at: "",
            closed: false,
            fields: &[required::<Map>("data"), optional::<Text>("subject_id"), optional::<Text>("occurred_at")],
        }],
    }],
};
