-- What the console draws and tells of the last hours, and who uses what.

-- What came and what became of it, minute by minute. Tenant and source are empty in the row of all of a node.
CREATE TABLE traffic (
    tenant    text COLLATE "C" NOT NULL,
    source    text COLLATE "C" NOT NULL,
    -- The beginning of the minute.
    at        bigint NOT NULL,
    -- The life of a process that counted it.
    node      text COLLATE "C" NOT NULL,
    events    bigint NOT NULL,
    refused   bigint NOT NULL,
    succeeded bigint NOT NULL,
    failed    bigint NOT NULL,
    dead      bigint NOT NULL,
    -- Jobs that are not over, at the end of the minute.
    waiting   bigint NOT NULL,
    acks      bigint NOT NULL,
    -- Of the acknowledgements, those within so many ms.
    acks_2    bigint NOT NULL,
    acks_5    bigint NOT NULL,
    acks_10   bigint NOT NULL,
    acks_25   bigint NOT NULL,
    acks_50   bigint NOT NULL,
    acks_100  bigint NOT NULL,
    acks_250  bigint NOT NULL,
    acks_1000 bigint NOT NULL,
    acks_2000 bigint NOT NULL,
    PRIMARY KEY (tenant, source, at, node)
);

CREATE INDEX traffic_at ON traffic (at);

-- How often each secret verified a delivery.
CREATE TABLE secret_uses (
    tenant         text COLLATE "C" NOT NULL,
    source         text COLLATE "C" NOT NULL,
    secret_version text COLLATE "C" NOT NULL,
    uses           bigint NOT NULL,
    first_at       bigint NOT NULL,
    last_at        bigint NOT NULL,
    PRIMARY KEY (tenant, source, secret_version)
);

-- To a minute.
ALTER TABLE tokens ADD COLUMN used_at bigint;
-- When they signed in last.
ALTER TABLE users ADD COLUMN used_at bigint;
