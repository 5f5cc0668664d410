INSERT INTO audit (at, actor, action, tenant, object, reason) VALUES (?, ?, ?, ?, ?, ?)
