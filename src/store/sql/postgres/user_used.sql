UPDATE users SET used_at = $2 WHERE name = $1
