DELETE FROM revocations WHERE tenant = ? AND source = ? AND nth = ? AND fingerprint = ? RETURNING nth
