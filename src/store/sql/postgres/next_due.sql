-- The first row of each group of the lane is its earliest (see `due`).
WITH RECURSIVE groups AS (
    (
        SELECT route, stage, class, next_run_at FROM jobs
        WHERE state IN ('pending', 'failed') AND tenant = $1 AND source = $2
        ORDER BY route, stage, class, next_run_at
        LIMIT 1
    )
    UNION ALL
    SELECT later.route, later.stage, later.class, later.next_run_at
    FROM groups
    CROSS JOIN LATERAL (
        SELECT route, stage, class, next_run_at FROM jobs
        WHERE state IN ('pending', 'failed') AND tenant = $1 AND source = $2
            AND (route, stage, class) > (groups.route, groups.stage, groups.class)
        ORDER BY route, stage, class, next_run_at
        LIMIT 1
    ) AS later
)
SELECT min(next_run_at) AS next_run_at FROM groups
