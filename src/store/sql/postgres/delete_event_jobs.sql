DELETE FROM jobs WHERE event_id = $1
