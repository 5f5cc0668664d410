//! Slack: the Events API (<https://docs.slack.dev/apis/events-api/>), slash commands and
//! interactivity.

use super::super::{
    Catalog, Object, Schema,
    shape::{Flag, Integer, List, Map, Text, fields},
};

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "slack",
    version: 1,
    body: "/event",
    context: &["/team_id", "/api_app_id", "/enterprise_id", "/is_ext_shared_channel"],
    schemas: &[
        Schema {
            name: "message",
            types: &["message"],
            objects: &[
                ENVELOPE,
                Object {
                    at: "/event",
                    closed: false,
                    fields: fields![
                        required Text ["channel"],
                        usual Text ["type", "ts", "event_ts", "channel_type"],
                        // Edits and deletions carry the text one level deeper.
                        optional Text ["subtype", "text", "user", "bot_id", "app_id", "team", "thread_ts", "client_msg_id", "deleted_ts"],
                        optional List ["blocks", "attachments", "files", "reactions"],
                        optional Map ["message", "previous_message", "edited", "metadata"],
                    ],
                },
            ],
        },
        Schema {
            name: "app_mention",
            types: &["app_mention"],
            objects: &[
                ENVELOPE,
                Object {
                    at: "/event",
                    closed: false,
                    fields: fields![
                        required Text ["channel"],
                        usual Text ["type", "text", "user", "ts", "event_ts"],
                        optional Text ["thread_ts", "team", "client_msg_id"],
                        optional List ["blocks", "attachments", "files"],
                    ],
                },
            ],
        },
        Schema {
            name: "reaction",
            types: &["reaction_added", "reaction_removed"],
            objects: &[
                ENVELOPE,
                Object {
                    at: "/event",
                    closed: false,
                    fields: fields![
                        required Text ["reaction"],
                        usual Text ["type", "user", "event_ts"],
                        usual Map ["item"],
                        optional Text ["item_user"],
                    ],
                },
            ],
        },
        Schema {
            name: "slash_command",
            types: &["slash_command"],
            objects: &[Object {
                at: "",
                closed: false,
                fields: fields![
                    required Text ["command"],
                    usual Text [
                        "text", "team_id", "team_domain", "channel_id", "channel_name", "user_id", "user_name",
                        "response_url", "trigger_id", "api_app_id",
                    ],
                    optional Text ["token", "enterprise_id", "enterprise_name", "is_enterprise_install"],
                ],
            }],
        },
        Schema {
            name: "interactivity",
            types: &[
                "block_actions",
                "view_submission",
                "view_closed",
                "shortcut",
                "message_action",
                "block_suggestion",
            ],
            objects: &[Object {
                at: "",
                closed: false,
                fields: fields![
                    required Text ["type"],
                    usual Map ["user"],
                    optional Map ["team", "channel", "view", "message", "container", "state"],
                    optional List ["actions", "response_urls"],
                    optional Text ["token", "trigger_id", "api_app_id", "callback_id", "response_url", "action_ts"],
                ],
            }],
        },
        Schema {
            name: "app_rate_limited",
            types: &["app_rate_limited"],
            objects: &[Object {
                at: "",
                closed: true,
                fields: fields![
                    required Text ["team_id"],
                    usual Text ["type", "api_app_id"],
                    usual Integer ["minute_rate_limited"],
                    optional Text ["token"],
                ],
            }],
        },
        Schema { name: "event", types: &["*"], objects: &[OTHER] },
    ],
};

const ENVELOPE: Object = Object {
    at: "",
    closed: true,
    fields: fields![
        required Map ["event"],
        usual Text ["type", "team_id", "api_app_id", "event_id"],
        usual Integer ["event_time"],
        usual List ["authorizations"],
        optional Text ["token", "event_context", "context_team_id", "context_enterprise_id", "enterprise_id"],
        optional Flag ["is_ext_shared_channel"],
        optional List ["authed_users", "authed_teams"],
    ],
};

/// What is neither an event of a known type nor of the Events API at all.
const OTHER: Object = Object { at: "", closed: false, fields: fields![optional Map ["event"]] };
