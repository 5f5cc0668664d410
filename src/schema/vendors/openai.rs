//! OpenAI: thin events that name a resource, `openai` SDK `types/webhooks`.

use super::super::{
    Catalog, Object, Schema,
    shape::{Integer, List, Map, Text, fields},
};

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "openai",
    version: 1,
    body: "/data",
    context: &[],
    schemas: &[
        named("response", &["response.*"]),
        named("batch", &["batch.*"]),
        named("fine_tuning.job", &["fine_tuning.job.*"]),
        named("eval.run", &["eval.run.*"]),
        named("video", &["video.*"]),
        Schema {
            name: "realtime.call.incoming",
            types: &["realtime.call.incoming"],
            objects: &[
                ENVELOPE,
                Object {
                    at: "/data",
                    closed: true,
                    fields: fields![required Text ["call_id"], usual List ["sip_headers"]],
                },
            ],
        },
        Schema { name: "event", types: &["*"], objects: &[ENVELOPE] },
    ],
};

/// A resource by its id alone.
const fn named(name: &'static str, types: &'static [&'static str]) -> Schema {
    Schema {
        name,
        types,
        objects: const { &[ENVELOPE, Object { at: "/data", closed: true, fields: fields![required Text ["id"]] }] },
    }
}

const ENVELOPE: Object = Object {
    at: "",
    closed: true,
    fields: fields![usual Text ["id", "type"], usual Integer ["created_at"], required Map ["data"], optional Text ["object"]],
};
