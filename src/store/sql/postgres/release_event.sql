UPDATE events SET status = 'released' WHERE id = $1 AND status = $2
RETURNING seq, tenant, source, subject_id, occurred_at
