DELETE FROM revocations WHERE tenant = $1 AND source = $2 AND nth = $3 AND fingerprint = $4 RETURNING nth
