INSERT INTO revocations (tenant, source, nth, version, fingerprint, revoked_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, source, nth) DO NOTHING
RETURNING nth
