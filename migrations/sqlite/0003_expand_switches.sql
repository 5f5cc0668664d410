-- What operators switched off.
CREATE TABLE switches (
    tenant TEXT NOT NULL,
    -- Empty for all of the tenant.
    source TEXT NOT NULL,
    off_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, source)
) STRICT, WITHOUT ROWID;
