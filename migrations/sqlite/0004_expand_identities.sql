-- Who a user is to an OpenID Connect provider. Such a user has an empty `password_hash`: no password fits.
CREATE TABLE identities (
    issuer     TEXT NOT NULL,
    -- Of the provider: never used for another person.
    subject    TEXT NOT NULL,
    user_name  TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;
