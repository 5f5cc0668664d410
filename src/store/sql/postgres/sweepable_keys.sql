SELECT tenant, source, key, secret_version FROM keys
WHERE (tenant, source, key) > ($1, $2, $3)
ORDER BY tenant, source, key
LIMIT $4
