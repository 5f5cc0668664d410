INSERT INTO audit (at, actor, action, tenant, object, reason) VALUES ($1, $2, $3, $4, $5, $6)
