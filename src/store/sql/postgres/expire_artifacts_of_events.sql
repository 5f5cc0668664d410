-- What goes with its event. What has a time of its own keeps it.
UPDATE artifacts SET delete_after = chosen.now
FROM unnest($1::uuid[], $2::bigint[]) AS chosen (event_id, now)
WHERE artifacts.event_id = chosen.event_id AND artifacts.delete_after IS NULL
