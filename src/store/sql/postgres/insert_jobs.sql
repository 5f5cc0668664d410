INSERT INTO jobs (
    id, event_id, tenant, source, route, type, state, class, next_run_at, created_at, updated_at, finished_at
)
SELECT * FROM unnest(
    $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[],
    $10::bigint[], $11::bigint[], $12::bigint[]
)
