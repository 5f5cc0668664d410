-- The store of the spine. Times are milliseconds since the Unix epoch, ids are the 16 bytes of a
-- UUIDv7, digests are raw bytes.
--
-- Every index is paid by every delivery, so there is one per rule of the contract and no more. No
-- foreign keys: one writer writes parents and children in one transaction, and retention removes
-- them together; a look-up per inserted row would buy nothing.

-- Verified events. A row never changes but its status.
CREATE TABLE events (
    -- The order of storing. `payloads` uses the same number, so that it needs no index of its own.
    seq            INTEGER PRIMARY KEY,
    id             BLOB NOT NULL UNIQUE,
    tenant         TEXT NOT NULL,
    source         TEXT NOT NULL,
    vendor         TEXT NOT NULL,
    external_id    TEXT NOT NULL,
    payload_hash   BLOB NOT NULL,
    stored_hash    BLOB NOT NULL,
    dedupe_key     BLOB NOT NULL,
    replay_key     BLOB,
    event_type     TEXT NOT NULL,
    subject_id     TEXT,
    occurred_at    INTEGER NOT NULL,
    received_at    INTEGER NOT NULL,
    signature_ok   INTEGER NOT NULL,
    secret_version TEXT NOT NULL,
    api_version    TEXT,
    revises        BLOB,
    status         TEXT NOT NULL CHECK (status IN ('stored', 'unrouted', 'quarantined', 'released')),
    trace_id       BLOB NOT NULL,
    -- Whether the scheme signs a time. Where it does not, the keys outlive the event (`keys`).
    keys_expire    INTEGER NOT NULL
) STRICT;

-- Keys begin with their time: with them in front, what all lanes store in one batch lies side by side.
CREATE UNIQUE INDEX events_dedupe ON events (dedupe_key, tenant, source);
CREATE UNIQUE INDEX events_replay ON events (replay_key, tenant, source) WHERE replay_key IS NOT NULL;
-- Which event another content under the same external id revises; search by the vendor's id.
CREATE INDEX events_external ON events (external_id, tenant, source);

CREATE TRIGGER events_are_immutable BEFORE UPDATE ON events
WHEN NOT (
    new.status = 'released' AND old.status <> 'released'
    AND new.seq = old.seq AND new.id = old.id AND new.tenant = old.tenant AND new.source = old.source
    AND new.vendor = old.vendor AND new.external_id = old.external_id
    AND new.payload_hash = old.payload_hash AND new.stored_hash = old.stored_hash
    AND new.dedupe_key = old.dedupe_key AND new.replay_key IS old.replay_key
    AND new.event_type = old.event_type AND new.subject_id IS old.subject_id
    AND new.occurred_at = old.occurred_at AND new.received_at = old.received_at
    AND new.signature_ok = old.signature_ok AND new.secret_version = old.secret_version
    AND new.api_version IS old.api_version AND new.revises IS old.revises
    AND new.trace_id = old.trace_id AND new.keys_expire = old.keys_expire
)
BEGIN
    SELECT RAISE(ABORT, 'an event never changes but its status, and that only to released');
END;

-- Keys of swept events whose scheme signs no time, until the secret that verified them is retired.
CREATE TABLE keys (
    tenant         TEXT NOT NULL,
    source         TEXT NOT NULL,
    key            BLOB NOT NULL,
    event_id       BLOB NOT NULL,
    secret_version TEXT NOT NULL,
    PRIMARY KEY (tenant, source, key)
) STRICT, WITHOUT ROWID;

-- What the vendor sent, redacted.
CREATE TABLE payloads (
    seq               INTEGER PRIMARY KEY,
    event_id          BLOB NOT NULL,
    raw               BLOB NOT NULL,
    headers           TEXT NOT NULL,
    redacted          INTEGER NOT NULL,
    trace_link        TEXT,
    quarantine_reason TEXT
) STRICT;

-- Normalised forms. Append-only: the newest is read, none is rewritten.
CREATE TABLE forms (
    seq            INTEGER PRIMARY KEY,
    event_seq      INTEGER NOT NULL,
    event_id       BLOB NOT NULL,
    schema_version INTEGER NOT NULL,
    form           TEXT NOT NULL
) STRICT;

CREATE INDEX forms_event ON forms (event_seq);

CREATE TRIGGER forms_are_append_only BEFORE UPDATE ON forms
BEGIN
    SELECT RAISE(ABORT, 'a form is never rewritten');
END;

CREATE TABLE jobs (
    seq         INTEGER PRIMARY KEY,
    id          BLOB NOT NULL UNIQUE,
    event_id    BLOB NOT NULL,
    tenant      TEXT NOT NULL,
    source      TEXT NOT NULL,
    route       TEXT NOT NULL,
    type        TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN (
        'pending', 'running', 'succeeded', 'failed', 'deadletter', 'superseded', 'cancelled'
    )),
    -- 0 fresh, 1 retry, 2 replay: the order in which a lane takes what is due.
    class       INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    claims      INTEGER NOT NULL DEFAULT 0,
    deaths      INTEGER NOT NULL DEFAULT 0,
    suspicion   INTEGER NOT NULL DEFAULT 0,
    -- Whether the attempt that holds it runs alone, so that a process death can be blamed on it.
    alone       INTEGER NOT NULL DEFAULT 0,
    next_run_at INTEGER NOT NULL,
    fence       INTEGER NOT NULL DEFAULT 0,
    owner       TEXT,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    finished_at INTEGER,
    last_error  TEXT,
    -- How far `checkpoint` goes: 0 there is none, 1 fetched, 2 answered. In the index, for jobs that
    -- have come further call other callees.
    stage INTEGER NOT NULL DEFAULT 0,
    -- Last, because it can be large: a row is read from its front.
    checkpoint  TEXT
) STRICT;

CREATE UNIQUE INDEX jobs_event_route ON jobs (event_id, route);
-- What a lane can begin. What a lane may have to pass over (work whose callee is held) and the class
-- come before the time, so that a lane with 100 000 waiting jobs reads only those it takes; the
-- state comes last, so that counting needs no row.
CREATE INDEX jobs_due ON jobs (tenant, source, route, stage, class, next_run_at, state)
WHERE state IN ('pending', 'failed');
-- What the process was doing: read once at the start.
CREATE INDEX jobs_running ON jobs (owner) WHERE state = 'running';

CREATE TABLE attempts (
    job_id      BLOB NOT NULL,
    -- Goes on through replays.
    number      INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    outcome     TEXT NOT NULL,
    error       TEXT,
    PRIMARY KEY (job_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE results (
    seq     INTEGER PRIMARY KEY,
    job_id  BLOB NOT NULL UNIQUE,
    result  TEXT NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

-- One row per death of a job; a replay closes it.
CREATE TABLE dead_letters (
    seq         INTEGER PRIMARY KEY,
    job_id      BLOB NOT NULL,
    reason      TEXT NOT NULL,
    detail      TEXT NOT NULL,
    at          INTEGER NOT NULL,
    replayed_at INTEGER,
    replayed_by TEXT
) STRICT;

CREATE INDEX dead_letters_job ON dead_letters (job_id);
CREATE INDEX dead_letters_open ON dead_letters (at) WHERE replayed_at IS NULL;

-- The newest time of each subject on each route; an older event is superseded.
CREATE TABLE watermarks (
    tenant      TEXT NOT NULL,
    source      TEXT NOT NULL,
    route       TEXT NOT NULL,
    subject_id  TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, source, route, subject_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE handshakes (
    seq    INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    source TEXT NOT NULL,
    at     INTEGER NOT NULL,
    -- Handed over by the vendor; shown once, then cleared.
    token  TEXT
) STRICT;

CREATE INDEX handshakes_source ON handshakes (tenant, source);

-- The last refused deliveries of each source, redacted and capped.
CREATE TABLE refusals (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant     TEXT NOT NULL,
    source     TEXT NOT NULL,
    at         INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    peer       TEXT NOT NULL,
    request    TEXT NOT NULL,
    headers    TEXT NOT NULL,
    body       TEXT NOT NULL,
    body_bytes INTEGER NOT NULL,
    hint       TEXT NOT NULL
) STRICT;

CREATE INDEX refusals_source ON refusals (tenant, source);

CREATE TABLE audit (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    actor  TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit is never rewritten');
END;

CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit is never shortened');
END;

-- API tokens; only a digest is kept.
CREATE TABLE tokens (
    id         BLOB PRIMARY KEY,
    digest     BLOB NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin', 'site')),
    -- The tenants it may see, as a JSON array; NULL for all.
    tenants    TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;

CREATE TABLE users (
    name          TEXT PRIMARY KEY,
    password_hash TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    tenants       TEXT,
    created_at    INTEGER NOT NULL,
    disabled_at   INTEGER
) STRICT, WITHOUT ROWID;

-- The processes that share the store; with SQLite there is one.
CREATE TABLE nodes (
    id          TEXT PRIMARY KEY,
    started_at  INTEGER NOT NULL,
    lease_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a lane remembers, and who runs it.
CREATE TABLE lanes (
    tenant  TEXT NOT NULL,
    source  TEXT NOT NULL,
    owner   TEXT,
    epoch   INTEGER NOT NULL DEFAULT 0,
    paused  INTEGER NOT NULL DEFAULT 0,
    -- Breakers that are not closed, as a JSON array.
    breaker TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (tenant, source)
) STRICT, WITHOUT ROWID;
