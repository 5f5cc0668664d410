SELECT u.name, u.role, u.tenants, s.expires_at
FROM sessions AS s
JOIN users AS u ON u.name = s.user_name
WHERE s.digest = $1 AND s.expires_at > $2 AND u.disabled_at IS NULL
