-- A skip-scan: one seek per group of the index (lane, route, checkpoint or none, class), whatever
-- the number of jobs. The first row of a group is its earliest. No other node shares this store.
WITH RECURSIVE groups (seq, lanes) AS (
    SELECT * FROM (
        SELECT seq, 1 FROM jobs INDEXED BY jobs_due
        WHERE state IN ('pending', 'failed') AND (tenant, source) > (?1, ?2)
        ORDER BY tenant, source, route, stage, class, next_run_at
        LIMIT 1
    )
    UNION ALL
    SELECT later.seq, groups.lanes + (later.tenant <> here.tenant OR later.source <> here.source)
    FROM groups
    CROSS JOIN jobs AS here ON here.seq = groups.seq
    CROSS JOIN jobs AS later ON later.seq = (
        SELECT seq FROM jobs INDEXED BY jobs_due
        WHERE state IN ('pending', 'failed')
            AND (tenant, source, route, stage, class)
            > (here.tenant, here.source, here.route, here.stage, here.class)
        ORDER BY tenant, source, route, stage, class, next_run_at
        LIMIT 1
    )
    WHERE groups.lanes <= ?3
)
SELECT jobs.tenant, jobs.source, min(jobs.next_run_at) AS next_run_at, ?4 IS NULL AND false AS elsewhere
FROM groups
CROSS JOIN jobs ON jobs.seq = groups.seq
WHERE groups.lanes <= ?3
GROUP BY jobs.tenant, jobs.source
ORDER BY jobs.tenant, jobs.source
