-- Counted as one that is not told; `tell_alert` undoes that in the same transaction. The row is held until
-- its end, so that of several nodes one tells.
INSERT INTO alert_marks AS m (tenant, place, cause, suppressed, held) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant, place, cause) DO UPDATE SET suppressed = m.suppressed + $4, held = coalesce($5, m.held)
RETURNING told_at, told, suppressed
