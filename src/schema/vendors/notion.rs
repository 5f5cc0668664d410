//! Notion: `@notionhq/client` `webhooks.ts`; events name an entity and hold no content.

use super::super::{
    Catalog, Object, Schema,
    shape::{Integer, List, Map, Text, fields},
};

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "notion",
    version: 1,
    body: "",
    context: &[],
    schemas: &[
        about("page", &["page.*"]),
        about("comment", &["comment.*"]),
        about("data_source", &["data_source.*"]),
        about("database", &["database.*"]),
        about("view", &["view.*"]),
        about("file_upload", &["file_upload.*"]),
    ],
};

const fn about(name: &'static str, types: &'static [&'static str]) -> Schema {
    Schema {
        name,
        types,
        objects: const {
            &[
                Object {
                    at: "",
                    closed: true,
                    fields: fields![
                        required Text ["id", "type"],
                        required Map ["entity"],
                        usual Text ["timestamp", "workspace_id", "subscription_id", "integration_id", "api_version"],
                        usual Integer ["attempt_number"],
                        usual List ["authors"],
                        optional Text ["workspace_name"],
                        optional List ["accessible_by"],
                        optional Map ["data"],
                    ],
                },
                Object { at: "/entity", closed: true, fields: fields![required Text ["id"], usual Text ["type"]] },
            ]
        },
    }
}
