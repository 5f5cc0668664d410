-- A row of one table, to be sealed. `row`: the id that its values are bound to.
SELECT event_id AS row, 0 AS version, raw, headers AS text, NULL AS body, NULL AS source, 0 AS at
FROM payloads WHERE ?1 = 'payloads' AND seq = ?2
UNION ALL
SELECT event_id, schema_version, NULL, form, NULL, NULL, 0 FROM forms WHERE ?1 = 'forms' AND seq = ?2
UNION ALL
SELECT id, 0, NULL, checkpoint, NULL, NULL, 0 FROM jobs WHERE ?1 = 'jobs' AND seq = ?2 AND checkpoint IS NOT NULL
UNION ALL
SELECT job_id, 0, NULL, result, NULL, NULL, 0 FROM results WHERE ?1 = 'results' AND seq = ?2
UNION ALL
SELECT NULL, 0, NULL, headers, body, source, at FROM refusals WHERE ?1 = 'refusals' AND id = ?2
