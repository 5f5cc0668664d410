DELETE FROM switches WHERE tenant = $1 AND source = $2 RETURNING tenant
