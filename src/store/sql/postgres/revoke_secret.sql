INSERT INTO revocations (tenant, source, nth, version, fingerprint, revoked_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant, source, nth) DO NOTHING
RETURNING nth
