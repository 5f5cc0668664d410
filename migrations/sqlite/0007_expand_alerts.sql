-- When somebody was last told of what, so that they are not told again for an hour, whichever node it is.
CREATE TABLE alert_marks (
    -- Empty for what is of no single tenant.
    tenant     TEXT NOT NULL,
    -- The source, or whom it calls; empty for what is of the node.
    place      TEXT NOT NULL,
    cause      TEXT NOT NULL,
    -- NULL before the first time.
    told_at    INTEGER,
    -- Which alert that was: who asks again after a lost answer is answered the same.
    told       TEXT,
    -- What was not told since then.
    suppressed INTEGER NOT NULL,
    -- The last alert of these, to be told when the hour is over.
    held       TEXT,
    PRIMARY KEY (tenant, place, cause)
) STRICT, WITHOUT ROWID;
