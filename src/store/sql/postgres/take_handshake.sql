-- Shown once: the token is returned and gone in one step.
DELETE FROM handshakes
WHERE seq = (SELECT max(seq) FROM handshakes WHERE tenant = $1 AND source = $2 AND token IS NOT NULL)
RETURNING tenant, source, at, token
