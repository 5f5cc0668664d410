-- Secrets of sources that operators took out of use, wherever they are named.
CREATE TABLE revocations (
    tenant      TEXT NOT NULL,
    source      TEXT NOT NULL,
    -- Counted from 1 within the source: two who revoke at once, each in the belief that another secret is
    -- left, are one who does and one who is told to look again.
    nth         INTEGER NOT NULL,
    -- How the secret was called then.
    version     TEXT NOT NULL,
    -- Argon2id of the key, salted: never the secret.
    fingerprint TEXT NOT NULL,
    revoked_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant, source, nth)
) STRICT, WITHOUT ROWID;
