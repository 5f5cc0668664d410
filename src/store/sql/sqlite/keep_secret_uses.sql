-- ?1: rows as JSON arrays: tenant, source, version, uses, first and last.
INSERT INTO secret_uses (tenant, source, secret_version, uses, first_at, last_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
FROM json_each(?1) WHERE true
ON CONFLICT (tenant, source, secret_version) DO UPDATE SET
    uses = secret_uses.uses + excluded.uses,
    first_at = min(secret_uses.first_at, excluded.first_at),
    last_at = max(secret_uses.last_at, excluded.last_at)
