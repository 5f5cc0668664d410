-- What operators switched off.
CREATE TABLE switches (
    tenant text COLLATE "C" NOT NULL,
    -- Empty for all of the tenant.
    source text COLLATE "C" NOT NULL,
    off_at bigint NOT NULL,
    PRIMARY KEY (tenant, source)
);
