UPDATE artifacts SET delete_after = $3
WHERE tenant = $1 AND subject_id = $2 AND (delete_after IS NULL OR delete_after > $3)
