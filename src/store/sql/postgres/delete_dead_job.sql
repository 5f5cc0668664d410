DELETE FROM jobs WHERE id = $1 AND state = 'deadletter' RETURNING tenant, source
