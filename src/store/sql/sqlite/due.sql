-- The first of each group of the lane (route, checkpoint or none, class) that is not held, merged:
-- reads as many rows as it returns per group, however many wait. A comparison of several columns at
-- once would be shorter: SQLite begins it with the first row of the group that it is to pass over, and
-- reads them all. ?5: held groups as a JSON array of [route, stage, class].
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
SELECT
    j.id, j.event_id, j.tenant, j.source, j.route, j.type, j.state, j.class, j.attempts, j.claims, j.deaths, j.suspicion,
    j.next_run_at, j.fence, j.stage
FROM groups
CROSS JOIN jobs AS first ON first.seq = groups.seq
CROSS JOIN jobs AS j ON j.seq IN (
    SELECT seq FROM jobs INDEXED BY jobs_due
    WHERE state IN ('pending', 'failed') AND tenant = ?1 AND source = ?2 AND route = first.route
        AND stage = first.stage AND class = first.class AND next_run_at <= ?3
    ORDER BY next_run_at
    LIMIT ?4
)
WHERE first.next_run_at <= ?3
    AND NOT EXISTS (
        SELECT 1 FROM json_each(?5) AS held
        WHERE held.value ->> 0 = first.route AND held.value ->> 1 = first.stage
            AND held.value ->> 2 = first.class
    )
ORDER BY j.class, j.next_run_at, j.seq
LIMIT ?4
