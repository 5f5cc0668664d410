-- `coalesce`, so that no partial index by the state is taken in place of the one by id.
UPDATE jobs
SET state = 'running', claims = jobs.claims + 1, fence = jobs.fence + 1, alone = begun.alone, owner = begun.owner,
    updated_at = begun.at
FROM unnest($1::uuid[], $2::boolean[], $3::text[], $4::bigint[]) AS begun (id, alone, owner, at)
WHERE jobs.id = begun.id AND coalesce(jobs.state, '') IN ('pending', 'failed')
