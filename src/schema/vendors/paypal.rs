//! PayPal: <https://developer.paypal.com/api/rest/webhooks/event-names/>.

use super::super::{
    Catalog, Object, Schema,
    shape::{Flag, List, Map, Text, fields},
};

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "paypal",
    version: 1,
    body: "/resource",
    context: &["/summary", "/resource_type", "/resource_version"],
    schemas: &[
        Schema {
            name: "PAYMENT",
            types: &["PAYMENT.*"],
            objects: &[
                ENVELOPE,
                Object {
                    at: "/resource",
                    closed: false,
                    fields: fields![
                        required Text ["id"],
                        optional Map ["amount", "seller_protection", "supplementary_data"],
                        optional Text ["status", "state", "create_time", "update_time", "parent_payment", "invoice_id", "custom_id"],
                        optional Flag ["final_capture"],
                        optional List ["links"],
                    ],
                },
            ],
        },
        Schema {
            name: "CHECKOUT.ORDER",
            types: &["CHECKOUT.ORDER.*"],
            objects: &[
                ENVELOPE,
                Object {
                    at: "/resource",
                    closed: false,
                    fields: fields![
                        required Text ["id"],
                        usual Text ["status"],
                        usual List ["purchase_units"],
                        optional Text ["intent", "create_time", "update_time"],
                        optional Map ["payer"],
                        optional List ["links"],
                    ],
                },
            ],
        },
        Schema {
            name: "BILLING",
            types: &["BILLING.*"],
            objects: &[
                ENVELOPE,
                Object {
                    at: "/resource",
                    closed: false,
                    fields: fields![
                        required Text ["id"],
                        optional Text ["status", "plan_id", "start_time", "create_time", "update_time", "quantity", "name", "product_id"],
                        optional Map ["subscriber", "billing_info"],
                        optional List ["links"],
                    ],
                },
            ],
        },
        Schema { name: "event", types: &["*"], objects: &[ENVELOPE] },
    ],
};

const ENVELOPE: Object = Object {
    at: "",
    closed: true,
    fields: fields![
        required Text ["id", "event_type"],
        usual Text ["event_version", "create_time", "resource_type", "summary"],
        usual Map ["resource"],
        optional Text ["resource_version"],
        optional List ["links", "transmissions"],
    ],
};
