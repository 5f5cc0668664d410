SELECT reason, detail, at, replayed_at, replayed_by FROM dead_letters WHERE job_id = $1 ORDER BY seq DESC LIMIT 1
