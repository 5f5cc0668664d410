-- The first of the next 512 numbers, for each block that a batch asks for; other nodes take theirs
-- between them. `kind` as in `find_duplicates`, with which it is asked.
SELECT
    a.number, 5::bigint AS kind, NULL::uuid AS event_id, NULL::bytea AS payload_hash, nextval('events_seq') AS value
FROM unnest($1::bigint[]) AS a (number)
