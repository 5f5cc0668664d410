DELETE FROM traffic WHERE at < ?1
