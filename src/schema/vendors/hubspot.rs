//! HubSpot: one element of a webhook batch,
//! <https://developers.hubspot.com/docs/api-reference/webhooks-webhooks-v3/guide>. A subscription type
//! is `{object}.{what}`, so the schemas go by what happened.

use super::super::{
    Catalog, Object, Schema,
    shape::{Flag, Integer, List, Text, fields},
};

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "hubspot",
    version: 1,
    body: "",
    context: &[],
    schemas: &[
        change("contact.propertyChange", &["contact.propertyChange"]),
        change(
            "crm.propertyChange",
            &[
                "company.propertyChange",
                "deal.propertyChange",
                "ticket.propertyChange",
                "product.propertyChange",
                "line_item.propertyChange",
                "object.propertyChange",
            ],
        ),
        Schema {
            name: "merge",
            types: &[
                "contact.merge",
                "company.merge",
                "deal.merge",
                "ticket.merge",
                "product.merge",
                "line_item.merge",
                "object.merge",
            ],
            objects: &[
                ENVELOPE,
                Object {
                    at: "",
                    closed: false,
                    fields: fields![required Integer ["primaryObjectId"], usual List ["mergedObjectIds"], optional Integer ["newObjectId", "numberOfPropertiesMoved"]],
                },
            ],
        },
        Schema {
            name: "associationChange",
            types: &[
                "contact.associationChange",
                "company.associationChange",
                "deal.associationChange",
                "ticket.associationChange",
                "object.associationChange",
            ],
            objects: &[
                ENVELOPE,
                Object {
                    at: "",
                    closed: false,
                    fields: fields![required Integer ["fromObjectId", "toObjectId"], usual Text ["associationType"], usual Flag ["associationRemoved"], optional Flag ["isPrimaryAssociation"]],
                },
            ],
        },
        Schema {
            name: "object",
            types: &[
                "contact.*",
                "company.*",
                "deal.*",
                "ticket.*",
                "product.*",
                "line_item.*",
                "object.*",
                "conversation.*",
            ],
            objects: &[ENVELOPE, Object { at: "", closed: false, fields: fields![required Integer ["objectId"]] }],
        },
    ],
};

const fn change(name: &'static str, types: &'static [&'static str]) -> Schema {
    Schema {
        name,
        types,
        objects: const {
            &[
                ENVELOPE,
                Object {
                    at: "",
                    closed: false,
                    fields: fields![required Integer ["objectId"], required Text ["propertyName"], usual Text ["propertyValue"]],
                },
            ]
        },
    }
}

const ENVELOPE: Object = Object {
    at: "",
    closed: true,
    fields: fields![
        required Integer ["eventId", "portalId", "occurredAt"],
        required Text ["subscriptionType"],
        usual Integer ["subscriptionId", "appId", "attemptNumber"],
        usual Text ["changeSource"],
        optional Integer [
            "objectId", "primaryObjectId", "newObjectId", "numberOfPropertiesMoved", "fromObjectId", "toObjectId",
            "associationTypeId", "messageId",
        ],
        optional Text [
            "sourceId", "propertyName", "propertyValue", "changeFlag", "objectTypeId", "associationType", "associationCategory",
            "fromObjectTypeId", "toObjectTypeId", "messageType", "changeType",
        ],
        optional Flag ["isSensitive", "associationRemoved", "isPrimaryAssociation"],
        optional List ["mergedObjectIds"],
    ],
};
