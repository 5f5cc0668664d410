DELETE FROM results WHERE job_id IN (SELECT id FROM jobs WHERE event_id = $1)
