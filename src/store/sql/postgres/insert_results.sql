INSERT INTO results (job_id, result, at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[])
ON CONFLICT (job_id) DO UPDATE SET result = excluded.result, at = excluded.at
