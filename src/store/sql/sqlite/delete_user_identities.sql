DELETE FROM identities WHERE user_name = ?1
