DELETE FROM keys WHERE tenant = $1 AND source = $2 AND key = $3
