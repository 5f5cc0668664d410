DELETE FROM watermarks WHERE tenant = $1 AND source = $2 AND route = $3 AND subject_id = $4 AND occurred_at < $5
