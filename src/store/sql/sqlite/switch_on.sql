DELETE FROM switches WHERE tenant = ? AND source = ? RETURNING tenant
