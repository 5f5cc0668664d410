-- $1: rows as JSON arrays: tenant, source, version, uses, first and last.
INSERT INTO secret_uses (tenant, source, secret_version, uses, first_at, last_at)
SELECT r ->> 0, r ->> 1, r ->> 2, (r ->> 3)::bigint, (r ->> 4)::bigint, (r ->> 5)::bigint
FROM jsonb_array_elements($1::text::jsonb) AS r
ON CONFLICT (tenant, source, secret_version) DO UPDATE SET
    uses = secret_uses.uses + excluded.uses,
    first_at = least(secret_uses.first_at, excluded.first_at),
    last_at = greatest(secret_uses.last_at, excluded.last_at)
