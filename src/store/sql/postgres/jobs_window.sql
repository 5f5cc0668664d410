-- A window of the newest jobs before $11 (see `events_window`).
SELECT
    j.seq, j.id, j.event_id, j.tenant, j.source, j.route, j.type, j.state, j.attempts, j.claims, j.deaths, j.next_run_at,
    j.last_error, j.created_at, j.updated_at, j.finished_at, e.event_type, e.subject_id, e.trace_id
FROM jobs AS j
JOIN events AS e ON e.id = j.event_id
WHERE j.seq < $11 AND j.seq >= $12
    AND ($1::text IS NULL OR j.tenant IN (SELECT jsonb_array_elements_text($1::text::jsonb)))
    AND ($2::text IS NULL OR j.tenant = $2)
    AND ($3::text IS NULL OR j.source = $3)
    AND ($4::text IS NULL OR e.event_type = $4 OR (right($4, 1) = '*' AND starts_with(e.event_type, left($4, -1))))
    AND ($5::text IS NULL OR j.state = $5)
    AND ($6::text IS NULL OR e.subject_id = $6)
    AND ($7::text IS NULL OR e.external_id = $7)
    AND ($8::bytea IS NULL OR e.trace_id = $8)
    AND j.created_at >= coalesce($9, -9223372036854775808)
    AND j.created_at < coalesce($10, 9223372036854775807)
ORDER BY j.seq DESC
LIMIT $13
