//! Standard Webhooks and Svix: `{type, timestamp, data}`, advised by the specification,
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use super::super::{
    Catalog, Object, Schema,
    shape::{Any, Id, Text, fields},
};

pub(super) const STANDARD: Catalog = catalog("standard");
pub(super) const SVIX: Catalog = catalog("svix");

const fn catalog(vendor: &'static str) -> Catalog {
    Catalog {
        vendor,
        version: 1,
        body: "/data",
        context: &[],
        schemas: const {
            &[
                // Clerk, Resend and others: an object that has an id.
                Schema {
                    name: "user",
                    types: &["user.created", "user.updated", "user.deleted"],
                    objects: &[
                        ENVELOPE,
                        Object {
                            at: "/data",
                            closed: false,
                            fields: fields![required Id ["id"], optional Any ["created_at", "updated_at"]],
                        },
                    ],
                },
                Schema { name: "event", types: &["*"], objects: &[ENVELOPE] },
            ]
        },
    }
}

const ENVELOPE: Object = Object {
    at: "",
    closed: false,
    fields: fields![usual Text ["type"], usual Any ["timestamp", "data"], optional Text ["api_version"]],
};
