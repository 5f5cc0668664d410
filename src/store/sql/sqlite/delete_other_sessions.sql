DELETE FROM sessions WHERE user_name = ?1 AND digest <> ?2
