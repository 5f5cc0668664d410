-- What is already stored under the keys of new events: one row per hit, with the number of the
-- event that asked. `kind`: 0 same dedupe key, 1 same replay key, 2 a kept key of a swept event,
-- 3 same external id (asked only where other content makes a revision).
--
-- Only a look: another node may insert before this one does. The unique indexes refuse that, and the
-- batch is run again.
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::text[])
        AS a (number, tenant, source, dedupe_key, replay_key, external_id)
)
SELECT a.number, 0::bigint AS kind, e.id AS event_id, e.payload_hash, NULL::bigint AS value
FROM asked AS a
JOIN events AS e ON e.tenant = a.tenant AND e.source = a.source AND e.dedupe_key = a.dedupe_key
UNION ALL
SELECT a.number, 1, e.id, e.payload_hash, NULL
FROM asked AS a
JOIN events AS e ON e.tenant = a.tenant AND e.source = a.source AND e.replay_key = a.replay_key
WHERE e.replay_key IS NOT NULL
UNION ALL
SELECT a.number, 2, k.event_id, NULL, NULL
FROM asked AS a
JOIN keys AS k ON k.tenant = a.tenant AND k.source = a.source AND k.key = a.dedupe_key
UNION ALL
SELECT a.number, 2, k.event_id, NULL, NULL
FROM asked AS a
JOIN keys AS k ON k.tenant = a.tenant AND k.source = a.source AND k.key = a.replay_key
UNION ALL
SELECT a.number, 3, e.id, NULL, NULL
FROM asked AS a
CROSS JOIN LATERAL (
    SELECT id FROM events
    WHERE tenant = a.tenant AND source = a.source AND external_id = a.external_id
    ORDER BY external_id, tenant, source, seq
    LIMIT 1
) AS e
