-- The first row of each group of the lane is its earliest (see `due`).
WITH RECURSIVE groups (seq) AS (
    SELECT * FROM (
        SELECT seq FROM jobs INDEXED BY jobs_due
        WHERE state IN ('pending', 'failed') AND tenant = ?1 AND source = ?2
        ORDER BY route, stage, class, next_run_at
        LIMIT 1
    )
    UNION ALL
    SELECT later.seq
    FROM groups
    CROSS JOIN jobs AS here ON here.seq = groups.seq
    CROSS JOIN jobs AS later ON later.seq = coalesce(
        (
            SELECT seq FROM jobs INDEXED BY jobs_due
            WHERE state IN ('pending', 'failed') AND tenant = ?1 AND source = ?2
                AND route = here.route AND stage = here.stage AND class > here.class
            ORDER BY class, next_run_at
            LIMIT 1
        ),
        (
            SELECT seq FROM jobs INDEXED BY jobs_due
            WHERE state IN ('pending', 'failed') AND tenant = ?1 AND source = ?2
                AND route = here.route AND stage > here.stage
            ORDER BY stage, class, next_run_at
            LIMIT 1
        ),
        (
            SELECT seq FROM jobs INDEXED BY jobs_due
            WHERE state IN ('pending', 'failed') AND tenant = ?1 AND source = ?2
                AND route > here.route
            ORDER BY route, stage, class, next_run_at
            LIMIT 1
        )
    )
)
SELECT min(jobs.next_run_at) AS next_run_at FROM groups CROSS JOIN jobs ON jobs.seq = groups.seq
