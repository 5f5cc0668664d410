-- Only as it was read: another node may have told it meanwhile.
UPDATE alert_marks SET told_at = ?6, suppressed = 0, held = NULL
WHERE tenant = ?1 AND place = ?2 AND cause = ?3 AND told_at = ?4 AND suppressed = ?5
RETURNING cause
