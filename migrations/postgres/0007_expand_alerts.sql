-- When somebody was last told of what, so that they are not told again for an hour, whichever node it is.
CREATE TABLE alert_marks (
    -- Empty for what is of no single tenant.
    tenant     text COLLATE "C" NOT NULL,
    -- The source, or whom it calls; empty for what is of the node.
    place      text COLLATE "C" NOT NULL,
    cause      text COLLATE "C" NOT NULL,
    -- NULL before the first time.
    told_at    bigint,
    -- Which alert that was: who asks again after a lost answer is answered the same.
    told       text,
    -- What was not told since then.
    suppressed bigint NOT NULL,
    -- The last alert of these, to be told when the hour is over.
    held       text COLLATE "C",
    PRIMARY KEY (tenant, place, cause)
);
