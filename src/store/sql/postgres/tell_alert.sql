UPDATE alert_marks SET told_at = $4, told = $5, suppressed = 0, held = NULL
WHERE tenant = $1 AND place = $2 AND cause = $3
