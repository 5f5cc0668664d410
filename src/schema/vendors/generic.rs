//! Our own scheme: `{event_type, subject_id, occurred_at, data}`.

use super::super::{
    Catalog, Object, Schema,
    shape::{Id, Map, Text, fields},
};

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "generic",
    version: 1,
    body: "/data",
    context: &[],
    schemas: &[
        Schema {
            name: "assistant.completed",
            types: &["assistant.completed"],
            objects: &[ENVELOPE, Object { at: "/data", closed: false, fields: &[] }],
        },
        Schema { name: "event", types: &["*"], objects: &[ENVELOPE] },
    ],
};

const ENVELOPE: Object = Object {
    at: "",
    closed: true,
    fields: fields![
        usual Text ["event_type", "occurred_at"],
        usual Id ["subject_id"],
        usual Map ["data"],
        optional Id ["id", "event_id", "api_version"],
    ],
};
