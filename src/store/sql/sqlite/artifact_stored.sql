UPDATE artifacts SET stored_at = coalesce(stored_at, ?2) WHERE id = ?1
