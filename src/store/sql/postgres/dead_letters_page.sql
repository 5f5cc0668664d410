SELECT
    j.seq, j.id, j.event_id, j.tenant, j.source, j.route, j.type, j.state, j.attempts, j.claims, j.deaths, j.next_run_at,
    j.last_error, j.created_at, j.updated_at, j.finished_at, e.event_type, e.subject_id, e.trace_id, d.seq AS letter, d.reason, d.detail, d.at, d.replayed_at, d.replayed_by
FROM dead_letters AS d
JOIN jobs AS j ON j.id = d.job_id
JOIN events AS e ON e.id = j.event_id
WHERE d.seq < $9
    AND ($1::text IS NULL OR j.tenant IN (SELECT jsonb_array_elements_text($1::text::jsonb)))
    AND ($2::uuid IS NULL OR j.id = $2)
    AND ($3::text IS NULL OR j.tenant = $3)
    AND ($4::text IS NULL OR j.source = $4)
    AND ($5::text IS NULL OR j.route = $5)
    AND ($6::text IS NULL OR d.reason = $6)
    AND d.at >= coalesce($7, -9223372036854775808)
    AND d.at < coalesce($8, 9223372036854775807)
    AND ($11::text IS NULL OR (e.event_type = $11 OR substr($11::text, length($11::text)) = '*' AND substr(e.event_type, 1, length($11::text) - 1) = substr($11::text, 1, length($11::text) - 1)))
    AND ($12::text IS NULL OR e.subject_id = $12)
ORDER BY d.seq DESC
LIMIT $10
