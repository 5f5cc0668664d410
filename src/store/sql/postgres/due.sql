-- The first of each group of the lane (route, checkpoint or none, class) that is not held, merged:
-- reads as many rows as it returns per group, however many wait. $5: held groups as a JSON array of
-- [route, stage, class].
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
SELECT
    j.id, j.event_id, j.tenant, j.source, j.route, j.type, j.state, j.class, j.attempts, j.claims, j.deaths, j.suspicion,
    j.next_run_at, j.fence, j.stage
FROM groups
CROSS JOIN LATERAL (
    SELECT * FROM jobs
    WHERE state IN ('pending', 'failed') AND tenant = $1 AND source = $2 AND route = groups.route
        AND stage = groups.stage AND class = groups.class AND next_run_at <= $3
    ORDER BY next_run_at
    LIMIT $4
) AS j
WHERE groups.next_run_at <= $3
    AND NOT EXISTS (
        SELECT 1 FROM jsonb_array_elements($5::text::jsonb) AS held (it)
        WHERE held.it ->> 0 = groups.route AND (held.it ->> 1)::integer = groups.stage
            AND (held.it ->> 2)::integer = groups.class
    )
ORDER BY j.class, j.next_run_at, j.seq
LIMIT $4
