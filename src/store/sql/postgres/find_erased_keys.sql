-- Which of the keys that sealed new events were erased meanwhile. `kind` tells its rows from those of
-- `find_duplicates`, with which it is asked.
SELECT a.number, 6::bigint AS kind, NULL::uuid AS event_id, NULL::bytea AS payload_hash, NULL::bigint AS value
FROM unnest($1::bigint[], $2::uuid[]) AS a (number, id)
JOIN data_keys AS k ON k.id = a.id
WHERE k.erased_at IS NOT NULL
