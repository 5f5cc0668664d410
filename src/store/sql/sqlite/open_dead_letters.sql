SELECT j.id, j.tenant, j.source
FROM dead_letters AS d INDEXED BY dead_letters_open
CROSS JOIN jobs AS j ON j.id = d.job_id
WHERE d.replayed_at IS NULL AND j.state = 'deadletter'
    AND (?8 IS NULL OR j.tenant IN (SELECT value FROM json_each(?8)))
    AND (?1 IS NULL OR j.id = ?1)
    AND (?2 IS NULL OR j.tenant = ?2)
    AND (?3 IS NULL OR j.source = ?3)
    AND (?4 IS NULL OR j.route = ?4)
    AND (?5 IS NULL OR d.reason = ?5)
    AND d.at >= coalesce(?6, -9223372036854775808)
    AND d.at < coalesce(?7, 9223372036854775807)
    AND (?9 IS NULL AND ?10 IS NULL OR EXISTS (
        SELECT 1 FROM events AS e
        WHERE e.id = j.event_id AND (?10 IS NULL OR e.subject_id = ?10)
            AND (?9 IS NULL OR (e.event_type = ?9 OR substr(?9, length(?9)) = '*' AND substr(e.event_type, 1, length(?9) - 1) = substr(?9, 1, length(?9) - 1)))
    ))
ORDER BY d.at, d.seq
LIMIT ?11
