SELECT tenant, source, state FROM jobs WHERE id = $1 FOR UPDATE
