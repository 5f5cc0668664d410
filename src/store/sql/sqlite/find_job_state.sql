SELECT tenant, source, state FROM jobs WHERE id = ?
