-- What goes with its job's event, where the job goes alone.
UPDATE artifacts SET delete_after = chosen.now
FROM unnest($1::uuid[], $2::bigint[]) AS chosen (job_id, now)
WHERE artifacts.job_id = chosen.job_id AND artifacts.delete_after IS NULL
