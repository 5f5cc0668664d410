-- $1: the tenants of the scope, NULL for all; only a user who sees no more is in it.
UPDATE users SET disabled_at = $3
WHERE name = $2 AND disabled_at IS NULL
    AND ($1::text IS NULL OR tenants::jsonb <@ $1::text::jsonb)
RETURNING name
