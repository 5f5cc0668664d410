-- A skip-scan: one seek per group of the index (lane, route, checkpoint or none, class), whatever
-- the number of jobs. The first row of a group is its earliest.
WITH RECURSIVE groups AS (
    (
        SELECT tenant, source, route, stage, class, next_run_at, 1::bigint AS lanes FROM jobs
        WHERE state IN ('pending', 'failed') AND (tenant, source) > ($1, $2)
        ORDER BY tenant, source, route, stage, class, next_run_at
        LIMIT 1
    )
    UNION ALL
    SELECT
        later.tenant, later.source, later.route, later.stage, later.class, later.next_run_at,
        groups.lanes + CASE WHEN (later.tenant, later.source) = (groups.tenant, groups.source) THEN 0 ELSE 1 END
    FROM groups
    CROSS JOIN LATERAL (
        SELECT tenant, source, route, stage, class, next_run_at FROM jobs
        WHERE state IN ('pending', 'failed')
            AND (tenant, source, route, stage, class)
            > (groups.tenant, groups.source, groups.route, groups.stage, groups.class)
        ORDER BY tenant, source, route, stage, class, next_run_at
        LIMIT 1
    ) AS later
    WHERE groups.lanes <= $3
)
SELECT tenant, source, min(next_run_at) AS next_run_at
FROM groups
WHERE lanes <= $3
GROUP BY tenant, source
ORDER BY tenant, source
