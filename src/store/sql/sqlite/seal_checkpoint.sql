-- Not where an attempt left another one meanwhile.
UPDATE jobs SET checkpoint = ?2 WHERE seq = ?1 AND checkpoint = ?3
