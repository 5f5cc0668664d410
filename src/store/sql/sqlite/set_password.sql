UPDATE users SET password_hash = ?3 WHERE name = ?1 AND password_hash = ?2 AND disabled_at IS NULL RETURNING name
