SELECT tenant FROM events WHERE id = ?
