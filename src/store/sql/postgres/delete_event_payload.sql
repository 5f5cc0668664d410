DELETE FROM payloads WHERE seq = $1
