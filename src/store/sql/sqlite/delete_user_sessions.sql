DELETE FROM sessions WHERE user_name = ?1 RETURNING digest
