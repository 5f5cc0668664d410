INSERT INTO attempts (job_id, number, started_at, duration_ms, outcome, error)
SELECT
    made.job_id, 1 + coalesce((SELECT max(number) FROM attempts WHERE job_id = made.job_id), 0), made.started_at,
    made.duration_ms, made.outcome, made.error
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[])
    AS made (job_id, started_at, duration_ms, outcome, error)
