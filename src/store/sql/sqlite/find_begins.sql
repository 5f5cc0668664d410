-- All that a begin must know, for many jobs at once. No other node shares this store.
WITH asked (number, id, owner, epoch) AS MATERIALIZED (
    VALUES
    (?, ?, ?, ?) -- repeated
)
SELECT
    a.number, j.id, j.event_id, j.tenant, j.source, j.route, j.type, j.state, j.class, j.attempts, j.claims, j.deaths,
    j.suspicion, j.next_run_at, j.fence, j.stage, j.checkpoint, e.vendor, e.external_id, e.event_type,
    e.subject_id, e.occurred_at, e.received_at, e.api_version, e.trace_id, e.sampled, f.schema_version, f.form,
    w.occurred_at AS watermark, true AS owned
FROM asked AS a
CROSS JOIN jobs AS j ON j.id = a.id
LEFT JOIN events AS e ON e.id = j.event_id
LEFT JOIN forms AS f ON f.seq = (SELECT max(seq) FROM forms WHERE event_seq = e.seq)
LEFT JOIN watermarks AS w
    ON w.tenant = j.tenant AND w.source = j.source AND w.route = j.route AND w.subject_id = e.subject_id
