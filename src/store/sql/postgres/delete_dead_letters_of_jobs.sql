DELETE FROM dead_letters WHERE job_id IN (SELECT unnest($1::uuid[]))
