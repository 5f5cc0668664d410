DELETE FROM attempts WHERE job_id IN (SELECT unnest($1::uuid[]))
