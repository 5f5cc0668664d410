INSERT INTO audit (at, actor, action, object, reason) VALUES ($1, $2, $3, $4, $5)
