SELECT
    j.seq, j.id, j.event_id, j.tenant, j.source, j.route, j.type, j.state, j.attempts, j.claims, j.deaths, j.next_run_at,
    j.last_error, j.created_at, j.updated_at, j.finished_at, e.event_type, e.subject_id, e.trace_id, d.seq AS letter, d.reason, d.detail, d.at, d.replayed_at, d.replayed_by
FROM dead_letters AS d
CROSS JOIN jobs AS j ON j.id = d.job_id
CROSS JOIN events AS e ON e.id = j.event_id
WHERE d.seq < ?9
    AND (?1 IS NULL OR j.tenant IN (SELECT value FROM json_each(?1)))
    AND (?2 IS NULL OR j.id = ?2)
    AND (?3 IS NULL OR j.tenant = ?3)
    AND (?4 IS NULL OR j.source = ?4)
    AND (?5 IS NULL OR j.route = ?5)
    AND (?6 IS NULL OR d.reason = ?6)
    AND d.at >= coalesce(?7, -9223372036854775808)
    AND d.at < coalesce(?8, 9223372036854775807)
    AND (?11 IS NULL OR (e.event_type = ?11 OR substr(?11, length(?11)) = '*' AND substr(e.event_type, 1, length(?11) - 1) = substr(?11, 1, length(?11) - 1)))
    AND (?12 IS NULL OR e.subject_id = ?12)
ORDER BY d.seq DESC
LIMIT ?10
