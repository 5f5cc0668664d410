-- `coalesce`, so that no partial index by the state is taken in place of the one by id.
-- `verdict` is the new state, or 'held': no outcome, back to where it was.
UPDATE jobs
SET state = CASE
        WHEN ended.verdict <> 'held' THEN ended.verdict
        WHEN jobs.attempts = 0 THEN 'pending'
        ELSE 'failed'
    END,
    attempts = jobs.attempts + CASE ended.verdict WHEN 'held' THEN 0 ELSE 1 END,
    suspicion = CASE ended.verdict WHEN 'held' THEN jobs.suspicion ELSE 0 END,
    class = CASE WHEN ended.verdict = 'failed' AND jobs.class = 0 THEN 1 ELSE jobs.class END,
    alone = false,
    owner = NULL,
    next_run_at = coalesce(ended.next_run_at, jobs.next_run_at),
    last_error = ended.error,
    updated_at = ended.at,
    finished_at = CASE WHEN ended.verdict IN ('succeeded', 'deadletter') THEN ended.at END,
    stage = CASE ended.verdict WHEN 'succeeded' THEN 0 ELSE jobs.stage END,
    checkpoint = CASE ended.verdict WHEN 'succeeded' THEN NULL ELSE jobs.checkpoint END
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])
    AS ended (id, fence, verdict, next_run_at, error, at)
WHERE jobs.id = ended.id AND jobs.fence = ended.fence AND coalesce(jobs.state, '') = 'running'
RETURNING jobs.id, jobs.tenant, jobs.source, jobs.state
