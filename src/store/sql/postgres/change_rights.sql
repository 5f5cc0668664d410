-- Only where they change; nobody hands anything to a user who is disabled.
UPDATE users SET role = $2, tenants = $3
WHERE name = $1 AND disabled_at IS NULL AND (role <> $2 OR tenants IS DISTINCT FROM $3::text)
RETURNING name
