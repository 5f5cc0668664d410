DELETE FROM keys
USING unnest($1::text[], $2::text[], $3::bytea[]) AS chosen (tenant, source, key)
WHERE keys.tenant = chosen.tenant AND keys.source = chosen.source AND keys.key = chosen.key
RETURNING keys.source
