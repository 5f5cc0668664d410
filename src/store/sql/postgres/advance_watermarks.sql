-- Rows come sorted by key, so that two writers never wait for each other in a circle.
INSERT INTO watermarks (tenant, source, route, subject_id, occurred_at)
SELECT tenant, source, route, subject_id, occurred_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
    AS new (tenant, source, route, subject_id, occurred_at)
ON CONFLICT (tenant, source, route, subject_id) DO UPDATE SET occurred_at = excluded.occurred_at
WHERE excluded.occurred_at > watermarks.occurred_at
