-- Held, so that retention does not take it away before its jobs are in.
SELECT seq, tenant, source, subject_id, occurred_at, status FROM events WHERE id = $1 FOR UPDATE
