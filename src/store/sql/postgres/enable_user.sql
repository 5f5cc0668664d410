-- $1: the tenants of the scope, NULL for all; only a user who sees no more is in it.
UPDATE users SET disabled_at = NULL
WHERE name = $2 AND disabled_at IS NOT NULL
    AND ($1::text IS NULL OR tenants::jsonb <@ $1::text::jsonb)
RETURNING name
