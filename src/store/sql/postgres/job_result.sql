SELECT result FROM results WHERE job_id = $1
