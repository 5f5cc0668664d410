SELECT tenant, source, nth, version, fingerprint, revoked_at FROM revocations
ORDER BY tenant, source, nth
