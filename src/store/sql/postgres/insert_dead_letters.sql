INSERT INTO dead_letters (job_id, reason, detail, at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[])
