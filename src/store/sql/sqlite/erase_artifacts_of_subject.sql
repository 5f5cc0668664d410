-- An object may have come that nobody told of.
UPDATE artifacts SET delete_after = ?3, stored_at = coalesce(stored_at, ?3)
WHERE tenant = ?1 AND subject_id = ?2 AND (delete_after IS NULL OR delete_after > ?3)
