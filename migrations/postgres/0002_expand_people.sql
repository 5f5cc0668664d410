-- People: whose sessions they are, and of which tenant an act is.

-- NULL where it concerns no single tenant.
ALTER TABLE audit ADD COLUMN tenant text COLLATE "C";

-- Who is signed in to the console; only a digest of the cookie is kept.
CREATE TABLE sessions (
    digest     bytea PRIMARY KEY,
    user_name  text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
