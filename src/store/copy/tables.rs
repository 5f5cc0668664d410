//! What a copy moves, and what it leaves out. A test holds both against the schema of each engine.

/// What a column holds, the same on both engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bytes,
    Id,
    Int,
    /// Never NULL.
    Flag,
}
use Kind::{Bytes, Flag, Id, Int, Text};

/// A table that is copied.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// How many of the columns, from the first, name a row.
    pub(super) key: usize,
    pub(super) columns: &'static [(&'static str, Kind)],
    /// Whether the engine numbers new rows, in the first column.
    pub(super) numbered: bool,
}

impl Table {
    const fn new(name: &'static str, key: usize, columns: &'static [(&'static str, Kind)]) -> Self {
        Self { name, key, columns, numbered: false }
    }

    const fn numbered(name: &'static str, columns: &'static [(&'static str, Kind)]) -> Self {
        Self { name, key: 1, columns, numbered: true }
    }

    /// The columns that name a row.
    pub(super) fn key(&self) -> &'static [(&'static str, Kind)] {
        &self.columns[..self.key]
    }
}

/// In the order in which they are copied.
pub(super) const TABLES: &[Table] = &[
    Table::numbered(
        "events",
        &[
            ("seq", Int),
            ("id", Id),
            ("tenant", Text),
            ("source", Text),
            ("vendor", Text),
            ("external_id", Text),
            ("payload_hash", Bytes),
            ("stored_hash", Bytes),
            ("dedupe_key", Bytes),
            ("replay_key", Bytes),
            ("event_type", Text),
            ("subject_id", Text),
            ("occurred_at", Int),
            ("received_at", Int),
            ("signature_ok", Flag),
            ("secret_version", Text),
            ("api_version", Text),
            ("revises", Id),
            ("status", Text),
            ("trace_id", Bytes),
            ("keys_expire", Flag),
            ("sampled", Flag),
        ],
    ),
    Table::new(
        "keys",
        3,
        &[("tenant", Text), ("source", Text), ("key", Bytes), ("event_id", Id), ("secret_version", Text)],
    ),
    // Its numbers are those of `events`.
    Table::new(
        "payloads",
        1,
        &[
            ("seq", Int),
            ("event_id", Id),
            ("raw", Bytes),
            ("headers", Text),
            ("redacted", Flag),
            ("trace_link", Text),
            ("quarantine_reason", Text),
        ],
    ),
    Table::numbered(
        "forms",
        &[("seq", Int), ("event_seq", Int), ("event_id", Id), ("schema_version", Int), ("form", Text)],
    ),
    Table::numbered(
        "jobs",
        &[
            ("seq", Int),
            ("id", Id),
            ("event_id", Id),
            ("tenant", Text),
            ("source", Text),
            ("route", Text),
            ("type", Text),
            ("state", Text),
            ("class", Int),
            ("attempts", Int),
            ("claims", Int),
            ("deaths", Int),
            ("suspicion", Int),
            ("alone", Flag),
            ("next_run_at", Int),
            // A fence is of its job: the next attempt takes the one after it.
            ("fence", Int),
            // Of a running job: the life that ended, so that the next one finds it.
            ("owner", Text),
            ("created_at", Int),
            ("updated_at", Int),
            ("finished_at", Int),
            ("last_error", Text),
            ("stage", Int),
            ("checkpoint", Text),
        ],
    ),
    Table::new(
        "attempts",
        2,
        &[
            ("job_id", Id),
            ("number", Int),
            ("started_at", Int),
            ("duration_ms", Int),
            ("outcome", Text),
            ("error", Text),
        ],
    ),
    Table::numbered("results", &[("seq", Int), ("job_id", Id), ("result", Text), ("at", Int)]),
    Table::numbered(
        "dead_letters",
        &[
            ("seq", Int),
            ("job_id", Id),
            ("reason", Text),
            ("detail", Text),
            ("at", Int),
            ("replayed_at", Int),
            ("replayed_by", Text),
        ],
    ),
    Table::new(
        "watermarks",
        4,
        &[("tenant", Text), ("source", Text), ("route", Text), ("subject_id", Text), ("occurred_at", Int)],
    ),
    // The objects are where they were: the folder or bucket is to be the same, or to be copied as it is.
    Table::new(
        "artifacts",
        1,
        &[
            ("id", Id),
            ("tenant", Text),
            ("source", Text),
            ("kind", Text),
            ("event_id", Id),
            ("job_id", Id),
            ("subject_id", Text),
            ("media_type", Text),
            ("bytes", Int),
            ("digest", Bytes),
            ("created_at", Int),
            ("stored_at", Int),
            ("delete_after", Int),
            ("uploadable_until", Int),
        ],
    ),
    Table::numbered("handshakes", &[("seq", Int), ("tenant", Text), ("source", Text), ("at", Int), ("token", Text)]),
    Table::numbered(
        "refusals",
        &[
            ("id", Int),
            ("tenant", Text),
            ("source", Text),
            ("at", Int),
            ("reason", Text),
            ("peer", Text),
            ("request", Text),
            ("headers", Text),
            ("body", Text),
            ("body_bytes", Int),
            ("hint", Text),
        ],
    ),
    Table::numbered(
        "audit",
        &[
            ("seq", Int),
            ("at", Int),
            ("actor", Text),
            ("action", Text),
            ("tenant", Text),
            ("object", Text),
            ("reason", Text),
        ],
    ),
    Table::new(
        "tokens",
        1,
        &[
            ("id", Id),
            ("digest", Bytes),
            ("name", Text),
            ("role", Text),
            ("tenants", Text),
            ("created_at", Int),
            ("expires_at", Int),
            ("revoked_at", Int),
            ("used_at", Int),
        ],
    ),
    Table::new(
        "users",
        1,
        &[
            ("name", Text),
            ("password_hash", Text),
            ("role", Text),
            ("tenants", Text),
            ("created_at", Int),
            ("disabled_at", Int),
            ("used_at", Int),
        ],
    ),
    // As they are: what they open is copied sealed.
    Table::new(
        "data_keys",
        1,
        &[
            ("id", Id),
            ("tenant", Text),
            ("wrapped", Bytes),
            ("wrapped_by", Text),
            ("created_at", Int),
            ("erased_at", Int),
        ],
    ),
    Table::new("identities", 2, &[("issuer", Text), ("subject", Text), ("user_name", Text), ("created_at", Int)]),
    Table::new(
        "revocations",
        3,
        &[
            ("tenant", Text),
            ("source", Text),
            ("nth", Int),
            ("version", Text),
            ("fingerprint", Text),
            ("revoked_at", Int),
        ],
    ),
    Table::new("switches", 2, &[("tenant", Text), ("source", Text), ("off_at", Int)]),
    Table::new(
        "secret_uses",
        3,
        &[
            ("tenant", Text),
            ("source", Text),
            ("secret_version", Text),
            ("uses", Int),
            ("first_at", Int),
            ("last_at", Int),
        ],
    ),
    Table::new("lanes", 2, &[("tenant", Text), ("source", Text), ("epoch", Int), ("paused", Flag), ("breaker", Text)]),
];

/// The columns that are copied, as `table.column`.
pub fn copied_columns() -> impl Iterator<Item = String> {
    TABLES.iter().flat_map(|table| table.columns.iter().map(|(column, _)| format!("{}.{column}", table.name)))
}

/// What stays behind, and why: a table, or a column as `table.column`.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("_sqlx_migrations", "the target has run the migrations of its own engine"),
    ("sessions", "people sign in anew where they are served anew"),
    ("traffic", "the last hours of the processes that served the source; the target begins its own"),
    ("alert_marks", "who was told an hour ago may be told again"),
    ("nodes", "processes that served the source; none of them serves the target"),
    ("lanes.owner", "nobody runs a lane of the target before a gateway takes it"),
    ("lanes.held", "as its owner"),
    ("lanes.config", "the gateway that takes it says under which configuration it runs"),
];
