-- $1: the tenants of the scope, NULL for all; only a user who sees no more is in it.
DELETE FROM users
WHERE name = $2
    AND ($1::text IS NULL OR tenants::jsonb <@ $1::text::jsonb)
RETURNING name
