INSERT INTO revocations (tenant, source, nth, version, fingerprint, revoked_at)
VALUES ('acme', 'hub', 1, 'env:OLD', '$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', 1767225600000);
