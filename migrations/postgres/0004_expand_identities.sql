-- Who a user is to an OpenID Connect provider. Such a user has an empty `password_hash`: no password fits.
CREATE TABLE identities (
    issuer     text COLLATE "C" NOT NULL,
    -- Of the provider: never used for another person.
    subject    text COLLATE "C" NOT NULL,
    user_name  text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (issuer, subject)
);
