UPDATE forms SET form = $2 WHERE seq = $1 AND form = $3
