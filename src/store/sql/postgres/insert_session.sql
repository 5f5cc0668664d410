-- Only while the user is as they were when the password was verified.
INSERT INTO sessions (digest, user_name, created_at, expires_at)
SELECT $1, name, $3, $4 FROM users WHERE name = $2 AND password_hash = $5 AND disabled_at IS NULL
RETURNING user_name
