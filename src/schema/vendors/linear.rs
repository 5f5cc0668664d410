//! Linear: <https://linear.app/developers/webhooks>, entities of `@linear/sdk`.

use super::super::{
    Catalog, Object, Schema,
    shape::{Integer, List, Map, Number, Text, fields},
};

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "linear",
    version: 1,
    body: "/data",
    context: &["/action", "/type", "/url", "/actor", "/updatedFrom", "/organizationId"],
    schemas: &[
        Schema {
            name: "Issue",
            types: &["Issue.*"],
            objects: &[
                ENVELOPE,
                Object {
                    at: "/data",
                    closed: false,
                    fields: fields![
                        required Text ["id"],
                        usual Text ["title", "identifier", "createdAt", "updatedAt", "teamId"],
                        usual Number ["number", "priority"],
                        usual Map ["state"],
                        optional Text ["description", "assigneeId", "creatorId", "projectId", "cycleId", "parentId", "stateId", "url", "dueDate", "completedAt", "canceledAt"],
                        optional Number ["estimate", "sortOrder"],
                        optional Map ["team", "assignee", "project", "cycle"],
                        optional List ["labels", "labelIds", "subscriberIds"],
                    ],
                },
            ],
        },
        Schema {
            name: "Comment",
            types: &["Comment.*"],
            objects: &[
                ENVELOPE,
                Object {
                    at: "/data",
                    closed: false,
                    fields: fields![
                        required Text ["id"],
                        usual Text ["body", "createdAt", "updatedAt"],
                        optional Text ["issueId", "projectUpdateId", "userId", "parentId", "editedAt"],
                        optional Map ["issue", "user"],
                    ],
                },
            ],
        },
        Schema {
            name: "Project",
            types: &["Project.*"],
            objects: &[
                ENVELOPE,
                Object {
                    at: "/data",
                    closed: false,
                    fields: fields![
                        required Text ["id"],
                        usual Text ["name", "createdAt", "updatedAt"],
                        optional Text ["description", "state", "leadId", "startDate", "targetDate", "slugId", "url"],
                        optional Number ["progress", "scope", "priority"],
                        optional List ["teamIds", "memberIds"],
                    ],
                },
            ],
        },
        Schema { name: "entity", types: &["*"], objects: &[ENVELOPE] },
    ],
};

const ENVELOPE: Object = Object {
    at: "",
    closed: true,
    fields: fields![
        required Text ["action", "type"],
        required Map ["data"],
        usual Text ["createdAt", "organizationId", "webhookId"],
        usual Integer ["webhookTimestamp"],
        optional Text ["url"],
        optional Map ["actor", "updatedFrom"],
    ],
};
