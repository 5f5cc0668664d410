-- `coalesce`, so that no partial index by the state is taken in place of the one by id.
UPDATE jobs SET checkpoint = kept.state, stage = kept.stage
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[]) AS kept (id, fence, stage, state)
WHERE jobs.id = kept.id AND jobs.fence = kept.fence AND coalesce(jobs.state, '') = 'running'
RETURNING jobs.id
