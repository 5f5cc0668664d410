-- All that a begin must know, for many jobs at once. Holds the jobs, so that nobody cancels one
-- between the look and the write.
SELECT
    a.number, j.id, j.event_id, j.tenant, j.source, j.route, j.type, j.state, j.class, j.attempts, j.claims, j.deaths,
    j.suspicion, j.next_run_at, j.fence, j.stage, j.checkpoint, e.vendor, e.external_id, e.event_type,
    e.subject_id, e.occurred_at, e.received_at, e.api_version, e.trace_id, e.sampled, f.schema_version, f.form,
    w.occurred_at AS watermark,
    coalesce(l.held AND l.owner = a.owner AND l.epoch = a.epoch, false) AS owned
FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[]) AS a (number, id, owner, epoch)
JOIN jobs AS j ON j.id = a.id
LEFT JOIN lanes AS l ON l.tenant = j.tenant AND l.source = j.source
LEFT JOIN events AS e ON e.id = j.event_id
LEFT JOIN LATERAL (
    -- By an expression, so that nobody reads all forms backwards instead.
    SELECT schema_version, form FROM forms WHERE event_seq = e.seq ORDER BY seq + 0 DESC LIMIT 1
) AS f ON true
LEFT JOIN LATERAL (
    -- `OFFSET 0` keeps it apart, so that its index is asked with the subject as well.
    SELECT occurred_at FROM watermarks
    WHERE tenant = j.tenant AND source = j.source AND route = j.route AND subject_id = e.subject_id
    OFFSET 0
) AS w ON true
FOR UPDATE OF j
