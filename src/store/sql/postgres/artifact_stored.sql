UPDATE artifacts SET stored_at = coalesce(stored_at, $2)
WHERE id = $1 AND (delete_after IS NULL OR delete_after > $2)
