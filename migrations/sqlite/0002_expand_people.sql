-- People: whose sessions they are, and of which tenant an act is.

-- NULL where it concerns no single tenant.
ALTER TABLE audit ADD COLUMN tenant TEXT;

-- Who is signed in to the console; only a digest of the cookie is kept.
CREATE TABLE sessions (
    digest     BLOB PRIMARY KEY,
    user_name  TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
