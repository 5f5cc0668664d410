DELETE FROM handshakes WHERE seq IN (SELECT seq FROM handshakes WHERE at < $1 ORDER BY seq LIMIT $2)
