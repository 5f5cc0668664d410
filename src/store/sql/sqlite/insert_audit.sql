INSERT INTO audit (at, actor, action, object, reason) VALUES (?, ?, ?, ?, ?)
