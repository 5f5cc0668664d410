-- Sorted by key, so that two nodes that insert the same events never wait for each other in a circle.
-- A unique index refuses what another node inserted since `find_duplicates` looked.
INSERT INTO events (
    seq, id, tenant, source, vendor, external_id, payload_hash, stored_hash, dedupe_key, replay_key, event_type,
    subject_id, occurred_at, received_at, signature_ok, secret_version, api_version, revises, status, trace_id,
    keys_expire, sampled
)
SELECT
    seq, id, tenant, source, vendor, external_id, payload_hash, stored_hash, dedupe_key, replay_key, event_type,
    subject_id, occurred_at, received_at, true, secret_version, api_version, revises, status, trace_id, keys_expire,
    sampled
FROM unnest(
    $1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::bytea[], $9::bytea[],
    $10::bytea[], $11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::text[], $16::text[], $17::uuid[],
    $18::text[], $19::bytea[], $20::boolean[], $21::boolean[]
) AS new (
    seq, id, tenant, source, vendor, external_id, payload_hash, stored_hash, dedupe_key, replay_key, event_type,
    subject_id, occurred_at, received_at, secret_version, api_version, revises, status, trace_id, keys_expire,
    sampled
)
ORDER BY tenant COLLATE "C", source COLLATE "C", dedupe_key
