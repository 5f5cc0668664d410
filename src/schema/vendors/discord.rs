//! Discord: webhook events (<https://docs.discord.com/developers/events/webhook-events>) and
//! interactions.

use super::super::{
    Catalog, Object, Schema,
    shape::{Flag, Integer, List, Map, Text, fields},
};

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "discord",
    version: 1,
    body: "/event/data",
    context: &["/application_id"],
    schemas: &[
        Schema {
            name: "APPLICATION_AUTHORIZED",
            types: &["APPLICATION_AUTHORIZED"],
            objects: &[
                ENVELOPE,
                EVENT,
                Object {
                    at: "/event/data",
                    closed: true,
                    fields: fields![required Map ["user"], usual List ["scopes"], optional Integer ["integration_type"], optional Map ["guild"]],
                },
            ],
        },
        Schema {
            name: "APPLICATION_DEAUTHORIZED",
            types: &["APPLICATION_DEAUTHORIZED"],
            objects: &[
                ENVELOPE,
                EVENT,
                Object { at: "/event/data", closed: true, fields: fields![required Map ["user"]] },
            ],
        },
        Schema {
            name: "ENTITLEMENT",
            types: &["ENTITLEMENT_CREATE", "ENTITLEMENT_UPDATE", "ENTITLEMENT_DELETE"],
            objects: &[
                ENVELOPE,
                EVENT,
                Object {
                    at: "/event/data",
                    closed: true,
                    fields: fields![
                        required Text ["id"],
                        usual Text ["sku_id", "application_id"],
                        usual Integer ["type"],
                        optional Text ["user_id", "guild_id", "starts_at", "ends_at", "promotion_id", "subscription_id", "gift_code_flags"],
                        optional Flag ["deleted", "consumed"],
                    ],
                },
            ],
        },
    ],
};

const ENVELOPE: Object = Object {
    at: "",
    closed: true,
    fields: fields![usual Integer ["version", "type"], usual Text ["application_id"], required Map ["event"]],
};

const EVENT: Object = Object {
    at: "/event",
    closed: true,
    fields: fields![required Text ["type"], usual Text ["timestamp"], optional Map ["data"]],
};
