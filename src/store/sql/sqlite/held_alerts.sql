SELECT tenant, place, cause, told_at, suppressed, held FROM alert_marks
WHERE held IS NOT NULL AND told_at <= ?1
ORDER BY told_at
LIMIT ?2
