-- $1: the tenants of the scope, NULL for all; only a token that sees no more is in it.
UPDATE tokens SET revoked_at = $3
WHERE id = $2 AND revoked_at IS NULL
    AND ($1::text IS NULL OR tenants::jsonb <@ $1::text::jsonb)
RETURNING name
