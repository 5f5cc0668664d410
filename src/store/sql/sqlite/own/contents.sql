SELECT (SELECT count(*) FROM events) AS events, (SELECT count(*) FROM jobs) AS jobs
