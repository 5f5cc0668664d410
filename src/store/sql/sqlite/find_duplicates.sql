-- What is already stored under the keys of new events: one row per hit, with the number of the
-- event that asked. `kind`: 0 same dedupe key, 1 same replay key, 2 a kept key of a swept event,
-- 3 same external id (asked only where other content makes a revision).
--
-- Differs from PostgreSQL by necessity of speed: there is one writer and it holds the write lock, so
-- nobody inserts between the look and the insert.
WITH asked (number, tenant, source, dedupe_key, replay_key, external_id) AS MATERIALIZED (
    VALUES
    (?, ?, ?, ?, ?, ?) -- repeated
)
SELECT a.number, 0 AS kind, e.id AS event_id, e.payload_hash
FROM asked AS a
CROSS JOIN events AS e INDEXED BY events_dedupe
    ON e.tenant = a.tenant AND e.source = a.source AND e.dedupe_key = a.dedupe_key
UNION ALL
SELECT a.number, 1, e.id, e.payload_hash
FROM asked AS a
CROSS JOIN events AS e INDEXED BY events_replay
    ON e.tenant = a.tenant AND e.source = a.source AND e.replay_key = a.replay_key
WHERE e.replay_key IS NOT NULL
UNION ALL
SELECT a.number, 2, k.event_id, NULL
FROM asked AS a
CROSS JOIN keys AS k ON k.tenant = a.tenant AND k.source = a.source AND k.key = a.dedupe_key
UNION ALL
SELECT a.number, 2, k.event_id, NULL
FROM asked AS a
CROSS JOIN keys AS k ON k.tenant = a.tenant AND k.source = a.source AND k.key = a.replay_key
UNION ALL
SELECT a.number, 3, e.id, NULL
FROM asked AS a
CROSS JOIN events AS e ON e.seq = (
    SELECT min(seq) FROM events INDEXED BY events_external
    WHERE tenant = a.tenant AND source = a.source AND external_id = a.external_id
)
