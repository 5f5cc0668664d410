//! GitHub: <https://docs.github.com/en/webhooks/webhook-events-and-payloads>.

use super::super::{
    Catalog, Object, Schema,
    shape::{Flag, Integer, List, Map, Text, fields},
};

pub(super) const CATALOG: Catalog = Catalog {
    vendor: "github",
    version: 1,
    body: "",
    context: &[],
    schemas: &[
        Schema {
            name: "ping",
            types: &["ping"],
            objects: &[Object {
                at: "",
                closed: true,
                fields: fields![
                    required Integer ["hook_id"],
                    usual Text ["zen"],
                    usual Map ["hook"],
                    optional Map ["repository", "organization", "sender", "enterprise", "installation"],
                ],
            }],
        },
        Schema {
            name: "push",
            types: &["push"],
            objects: &[
                Object {
                    at: "",
                    closed: true,
                    fields: fields![
                        required Text ["ref"],
                        required Map ["repository"],
                        usual Text ["before", "after", "compare"],
                        usual Flag ["created", "deleted", "forced"],
                        usual List ["commits"],
                        usual Map ["pusher"],
                        optional Text ["base_ref"],
                        optional Map ["head_commit", "sender", "organization", "installation", "enterprise"],
                    ],
                },
                REPOSITORY,
            ],
        },
        Schema {
            name: "pull_request",
            types: &["pull_request.*"],
            objects: &[
                ACTION,
                REPOSITORY,
                Object {
                    at: "/pull_request",
                    closed: false,
                    fields: fields![
                        required Integer ["number"],
                        usual Integer ["id"],
                        usual Text ["title", "state", "html_url", "created_at", "updated_at"],
                        usual Map ["user", "head", "base"],
                        optional Flag ["draft", "merged"],
                        optional Text ["body", "merged_at", "closed_at", "merge_commit_sha"],
                    ],
                },
            ],
        },
        Schema {
            name: "pull_request_review",
            types: &["pull_request_review.*"],
            objects: &[
                ACTION,
                REPOSITORY,
                Object {
                    at: "/review",
                    closed: false,
                    fields: fields![required Integer ["id"], usual Text ["state", "html_url"], usual Map ["user"], optional Text ["body", "submitted_at"]],
                },
            ],
        },
        Schema { name: "issues", types: &["issues.*"], objects: &[ACTION, REPOSITORY, ISSUE] },
        Schema {
            name: "issue_comment",
            types: &["issue_comment.*"],
            objects: &[
                ACTION,
                REPOSITORY,
                ISSUE,
                Object {
                    at: "/comment",
                    closed: false,
                    fields: fields![required Integer ["id"], usual Text ["body", "html_url", "created_at"], usual Map ["user"]],
                },
            ],
        },
        Schema {
            name: "release",
            types: &["release.*"],
            objects: &[
                ACTION,
                REPOSITORY,
                Object {
                    at: "/release",
                    closed: false,
                    fields: fields![
                        required Integer ["id"],
                        usual Text ["tag_name", "html_url", "created_at"],
                        usual Flag ["draft", "prerelease"],
                        optional Text ["name", "body", "published_at", "target_commitish"],
                        optional List ["assets"],
                    ],
                },
            ],
        },
        Schema {
            name: "workflow_run",
            types: &["workflow_run.*"],
            objects: &[
                ACTION,
                REPOSITORY,
                Object {
                    at: "/workflow_run",
                    closed: false,
                    fields: fields![
                        required Integer ["id"],
                        usual Text ["status", "event", "html_url", "created_at"],
                        optional Text ["name", "conclusion", "head_branch", "head_sha"],
                    ],
                },
            ],
        },
        Schema { name: "star", types: &["star.*", "watch.*"], objects: &[ACTION, REPOSITORY] },
    ],
};

const ACTION: Object = Object {
    at: "",
    closed: true,
    fields: fields![
        required Text ["action"],
        required Map ["repository"],
        usual Map ["sender"],
        optional Integer ["number"],
        optional Text ["before", "after", "starred_at", "reason"],
        optional Map [
            "pull_request", "issue", "comment", "review", "release", "workflow_run", "workflow", "label", "milestone",
            "assignee", "changes", "organization", "installation", "enterprise", "requested_reviewer", "requested_team", "type",
        ],
    ],
};

const REPOSITORY: Object = Object {
    at: "/repository",
    closed: false,
    fields: fields![required Text ["full_name"], usual Integer ["id"], usual Text ["name"], usual Flag ["private"]],
};

const ISSUE: Object = Object {
    at: "/issue",
    closed: false,
    fields: fields![
        required Integer ["number"],
        usual Integer ["id"],
        usual Text ["title", "state", "html_url", "created_at", "updated_at"],
        usual Map ["user"],
        optional Text ["body", "closed_at", "state_reason"],
        optional List ["labels", "assignees"],
    ],
};
