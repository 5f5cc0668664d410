SELECT 1 AS kept FROM events WHERE id = ?1
