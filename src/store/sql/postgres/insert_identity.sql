INSERT INTO identities (issuer, subject, user_name, created_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (issuer, subject) DO NOTHING
RETURNING user_name
