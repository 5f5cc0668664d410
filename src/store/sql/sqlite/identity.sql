SELECT u.name, u.role, u.tenants, u.disabled_at
FROM identities AS i
CROSS JOIN users AS u ON u.name = i.user_name
WHERE i.issuer = ?1 AND i.subject = ?2
