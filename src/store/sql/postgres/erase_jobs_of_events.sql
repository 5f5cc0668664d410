DELETE FROM jobs WHERE event_id IN (SELECT unnest($1::uuid[])) RETURNING tenant, source, state
