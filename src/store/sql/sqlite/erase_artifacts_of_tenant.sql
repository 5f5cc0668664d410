UPDATE artifacts SET delete_after = ?2
WHERE tenant = ?1 AND (delete_after IS NULL OR delete_after > ?2)
