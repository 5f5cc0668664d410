UPDATE results SET result = $2 WHERE seq = $1 AND result = $3
