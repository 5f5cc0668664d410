SELECT tenant FROM jobs WHERE id = ?
