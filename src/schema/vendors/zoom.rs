//! Zoom: <https://developers.zoom.us/docs/api/meetings/events/>, `@zoom/rivet`.

use super::super::{
    Catalog, Object, Schema,
    shape::{Id, Integer, List, Map, Text, fields},
};

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "zoom",
    version: 1,
    body: "/payload/object",
    context: &["/payload/account_id", "/payload/operator", "/payload/operator_id", "/payload/old_object"],
    schemas: &[
        Schema {
            name: "meeting.participant",
            types: &["meeting.participant_*"],
            objects: &[
                ENVELOPE,
                MEETING,
                Object {
                    at: "/payload/object/participant",
                    closed: false,
                    fields: fields![usual Text ["user_name"], optional Text ["user_id", "id", "participant_uuid", "email", "join_time", "leave_time"]],
                },
            ],
        },
        Schema { name: "meeting", types: &["meeting.*", "webinar.*"], objects: &[ENVELOPE, MEETING] },
        Schema {
            name: "recording",
            types: &["recording.*"],
            objects: &[
                ENVELOPE,
                Object {
                    at: "/payload/object",
                    closed: false,
                    fields: fields![
                        required Id ["id"],
                        usual Text ["uuid", "host_id", "topic"],
                        usual Integer ["type"],
                        optional Text ["start_time", "share_url", "timezone", "host_email", "password"],
                        optional Integer ["duration", "total_size", "recording_count"],
                        optional List ["recording_files", "participant_audio_files"],
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
    fields: fields![required Text ["event"], required Map ["payload"], usual Integer ["event_ts"], optional Text ["download_token"]],
};

const MEETING: Object = Object {
    at: "/payload/object",
    closed: false,
    fields: fields![
        required Id ["id"],
        usual Text ["uuid", "topic", "host_id"],
        optional Integer ["type", "duration"],
        optional Text ["start_time", "end_time", "timezone", "join_url", "password"],
        optional Map ["settings", "recurrence", "participant"],
        optional List ["occurrences"],
    ],
};
