UPDATE jobs SET checkpoint = kept.state, stage = kept.stage
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[]) AS kept (id, fence, stage, state)
WHERE jobs.id = kept.id AND jobs.fence = kept.fence AND jobs.state = 'running'
RETURNING jobs.id
