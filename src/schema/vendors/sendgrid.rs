//! SendGrid: one element of an event webhook's array,
//! <https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event>. A sender's own
//! arguments stand among the fields, so none is drift.

use super::super::{
    Catalog, Object, Schema,
    shape::{Any, Flag, Id, Integer, Map, Text, fields},
};

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "sendgrid",
    version: 1,
    body: "",
    context: &[],
    schemas: &[
        Schema {
            name: "delivery",
            types: &["processed", "deferred", "delivered", "bounce", "blocked", "dropped"],
            objects: &[Object {
                at: "",
                closed: false,
                fields: fields![
                    required Text ["event", "sg_event_id"],
                    required Integer ["timestamp"],
                    usual Text ["email", "sg_message_id"],
                    optional Text ["smtp-id", "reason", "status", "response", "type", "ip", "bounce_classification"],
                    optional Id ["attempt"],
                    optional Any ["category", "tls", "asm_group_id"],
                ],
            }],
        },
        Schema {
            name: "engagement",
            types: &["open", "click", "spamreport", "unsubscribe", "group_unsubscribe", "group_resubscribe"],
            objects: &[Object {
                at: "",
                closed: false,
                fields: fields![
                    required Text ["event", "sg_event_id"],
                    required Integer ["timestamp"],
                    usual Text ["email"],
                    optional Text ["sg_message_id", "ip", "useragent", "url", "sg_content_type"],
                    optional Flag ["sg_machine_open"],
                    optional Map ["url_offset"],
                    optional Any ["category", "asm_group_id"],
                ],
            }],
        },
    ],
};
