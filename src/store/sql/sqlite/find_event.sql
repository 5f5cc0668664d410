SELECT seq, tenant, source, subject_id, occurred_at, status FROM events WHERE id = ?
