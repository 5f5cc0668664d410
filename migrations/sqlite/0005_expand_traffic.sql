-- What the console draws and tells of the last hours, and who uses what.

-- What came and what became of it, minute by minute. Tenant and source are empty in the row of all of a node.
CREATE TABLE traffic (
    tenant    TEXT NOT NULL,
    source    TEXT NOT NULL,
    -- The beginning of the minute.
    at        INTEGER NOT NULL,
    -- The life of a process that counted it.
    node      TEXT NOT NULL,
    events    INTEGER NOT NULL,
    refused   INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    dead      INTEGER NOT NULL,
    -- Jobs that are not over, at the end of the minute.
    waiting   INTEGER NOT NULL,
    acks      INTEGER NOT NULL,
    -- Of the acknowledgements, those within so many ms.
    acks_2    INTEGER NOT NULL,
    acks_5    INTEGER NOT NULL,
    acks_10   INTEGER NOT NULL,
    acks_25   INTEGER NOT NULL,
    acks_50   INTEGER NOT NULL,
    acks_100  INTEGER NOT NULL,
    acks_250  INTEGER NOT NULL,
    acks_1000 INTEGER NOT NULL,
    acks_2000 INTEGER NOT NULL,
    PRIMARY KEY (tenant, source, at, node)
) STRICT, WITHOUT ROWID;

CREATE INDEX traffic_at ON traffic (at);

-- How often each secret verified a delivery.
CREATE TABLE secret_uses (
    tenant         TEXT NOT NULL,
    source         TEXT NOT NULL,
    secret_version TEXT NOT NULL,
    uses           INTEGER NOT NULL,
    first_at       INTEGER NOT NULL,
    last_at        INTEGER NOT NULL,
    PRIMARY KEY (tenant, source, secret_version)
) STRICT, WITHOUT ROWID;

-- To a minute.
ALTER TABLE tokens ADD COLUMN used_at INTEGER;
-- When they signed in last.
ALTER TABLE users ADD COLUMN used_at INTEGER;
