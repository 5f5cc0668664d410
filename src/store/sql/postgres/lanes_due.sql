-- A skip-scan: one seek per group of the index (lane, route, checkpoint or none, class), whatever
-- the number of jobs. The first row of a group is its earliest. $4: the node that asks.
WITH RECURSIVE groups AS (
    (
        SELECT tenant, source, route, stage, class, next_run_at, 1::bigint AS found FROM jobs
        WHERE state IN ('pending', 'failed') AND (tenant, source) > ($1, $2)
        ORDER BY tenant, source, route, stage, class, next_run_at
        LIMIT 1
    )
    UNION ALL
    SELECT
        later.tenant, later.source, later.route, later.stage, later.class, later.next_run_at,
        groups.found + CASE WHEN (later.tenant, later.source) = (groups.tenant, groups.source) THEN 0 ELSE 1 END
    FROM groups
    CROSS JOIN LATERAL (
        SELECT tenant, source, route, stage, class, next_run_at FROM jobs
        WHERE state IN ('pending', 'failed')
            AND (tenant, source, route, stage, class)
            > (groups.tenant, groups.source, groups.route, groups.stage, groups.class)
        ORDER BY tenant, source, route, stage, class, next_run_at
        LIMIT 1
    ) AS later
    WHERE groups.found <= $3
)
SELECT
    tenant, source, min(next_run_at) AS next_run_at,
    EXISTS (
        SELECT 1 FROM lanes
        JOIN nodes ON nodes.id = lanes.owner
        WHERE lanes.tenant = groups.tenant AND lanes.source = groups.source AND lanes.held AND lanes.owner <> $4
    ) AS elsewhere
FROM groups
WHERE found <= $3
GROUP BY tenant, source
ORDER BY tenant, source
