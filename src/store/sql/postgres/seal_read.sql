-- A row of one table, to be sealed. `row`: the id that its values are bound to.
SELECT
    event_id AS row, 0::bigint AS version, raw, headers AS text, NULL::text AS body, NULL::text AS source,
    0::bigint AS at
FROM payloads WHERE $1 = 'payloads' AND seq = $2
UNION ALL
SELECT event_id, schema_version::bigint, NULL::bytea, form, NULL::text, NULL::text, 0
FROM forms WHERE $1 = 'forms' AND seq = $2
UNION ALL
SELECT id, 0, NULL::bytea, checkpoint, NULL::text, NULL::text, 0
FROM jobs WHERE $1 = 'jobs' AND seq = $2 AND checkpoint IS NOT NULL
UNION ALL
SELECT job_id, 0, NULL::bytea, result, NULL::text, NULL::text, 0 FROM results WHERE $1 = 'results' AND seq = $2
UNION ALL
SELECT NULL::uuid, 0, NULL::bytea, headers, body, source, at FROM refusals WHERE $1 = 'refusals' AND id = $2
