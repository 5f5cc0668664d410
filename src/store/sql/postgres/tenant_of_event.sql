SELECT tenant FROM events WHERE id = $1
