-- A skip-scan: one seek per group of the index (lane, route, checkpoint or none, class), whatever
-- the number of jobs. The first row of a group is its earliest. One column at a time, as in `due`. No
-- other node shares this store.
WITH RECURSIVE groups (seq, lanes) AS (
    SELECT * FROM (
        SELECT first.seq, 1
        FROM jobs AS first
        WHERE first.seq = coalesce(
            (
                SELECT seq FROM jobs INDEXED BY jobs_due
                WHERE state IN ('pending', 'failed')
                    AND tenant = ?1 AND source > ?2
                ORDER BY source, route, stage, class, next_run_at
                LIMIT 1
            ),
            (
                SELECT seq FROM jobs INDEXED BY jobs_due
                WHERE state IN ('pending', 'failed')
                    AND tenant > ?1
                ORDER BY tenant, source, route, stage, class, next_run_at
                LIMIT 1
            )
        )
    )
    UNION ALL
    SELECT later.seq, groups.lanes + (later.tenant <> here.tenant OR later.source <> here.source)
    FROM groups
    CROSS JOIN jobs AS here ON here.seq = groups.seq
    CROSS JOIN jobs AS later ON later.seq = coalesce(
        (
            SELECT seq FROM jobs INDEXED BY jobs_due
            WHERE state IN ('pending', 'failed')
                AND tenant = here.tenant AND source = here.source AND route = here.route AND stage = here.stage AND class > here.class
            ORDER BY class, next_run_at
            LIMIT 1
        ),
        (
            SELECT seq FROM jobs INDEXED BY jobs_due
            WHERE state IN ('pending', 'failed')
                AND tenant = here.tenant AND source = here.source AND route = here.route AND stage > here.stage
            ORDER BY stage, class, next_run_at
            LIMIT 1
        ),
        (
            SELECT seq FROM jobs INDEXED BY jobs_due
            WHERE state IN ('pending', 'failed')
                AND tenant = here.tenant AND source = here.source AND route > here.route
            ORDER BY route, stage, class, next_run_at
            LIMIT 1
        ),
        (
            SELECT seq FROM jobs INDEXED BY jobs_due
            WHERE state IN ('pending', 'failed')
                AND tenant = here.tenant AND source > here.source
            ORDER BY source, route, stage, class, next_run_at
            LIMIT 1
        ),
        (
            SELECT seq FROM jobs INDEXED BY jobs_due
            WHERE state IN ('pending', 'failed')
                AND tenant > here.tenant
            ORDER BY tenant, source, route, stage, class, next_run_at
            LIMIT 1
        )
    )
    WHERE groups.lanes <= ?3
)
SELECT jobs.tenant, jobs.source, min(jobs.next_run_at) AS next_run_at, ?4 IS NULL AND false AS elsewhere
FROM groups
CROSS JOIN jobs ON jobs.seq = groups.seq
WHERE groups.lanes <= ?3
GROUP BY jobs.tenant, jobs.source
ORDER BY jobs.tenant, jobs.source
