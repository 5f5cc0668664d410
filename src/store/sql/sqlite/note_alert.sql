-- Counted as one that is not told; `tell_alert` undoes that in the same transaction.
INSERT INTO alert_marks (tenant, place, cause, suppressed, held) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (tenant, place, cause) DO UPDATE SET suppressed = suppressed + ?4, held = coalesce(?5, held)
RETURNING told_at, told, suppressed
