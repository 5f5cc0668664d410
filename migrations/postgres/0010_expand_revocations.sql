-- Secrets of sources that operators took out of use, wherever they are named.
CREATE TABLE revocations (
    tenant text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    -- Counted from 1 within the source: two who revoke at once, each in the belief that another secret is
    -- left, are one who does and one who is told to look again.
    nth bigint NOT NULL,
    -- How the secret was called then.
    version text COLLATE "C" NOT NULL,
    -- Argon2id of the key, salted: never the secret.
    fingerprint text COLLATE "C" NOT NULL,
    revoked_at bigint NOT NULL,
    PRIMARY KEY (tenant, source, nth)
);
