DELETE FROM sessions WHERE digest = ?1 RETURNING user_name
