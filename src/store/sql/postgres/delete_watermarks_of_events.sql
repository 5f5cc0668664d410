DELETE FROM watermarks
WHERE (tenant, source, route, subject_id) IN (
    SELECT e.tenant, e.source, j.route, e.subject_id FROM unnest($1::bigint[]) AS chosen (seq)
    JOIN events AS e ON e.seq = chosen.seq
    JOIN jobs AS j ON j.event_id = e.id
    WHERE e.subject_id IS NOT NULL
)
