-- Whatever time they have of their own. An object may have come that nobody told of.
UPDATE artifacts SET delete_after = chosen.now, stored_at = coalesce(artifacts.stored_at, chosen.now)
FROM unnest($1::uuid[], $2::bigint[]) AS chosen (event_id, now)
WHERE artifacts.event_id = chosen.event_id
