-- Whatever time they have of their own.
UPDATE artifacts SET delete_after = chosen.now
FROM unnest($1::uuid[], $2::bigint[]) AS chosen (event_id, now)
WHERE artifacts.event_id = chosen.event_id
