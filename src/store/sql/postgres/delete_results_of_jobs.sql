DELETE FROM results WHERE job_id IN (SELECT unnest($1::uuid[]))
