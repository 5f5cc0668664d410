UPDATE payloads SET raw = ?2, headers = ?3 WHERE seq = ?1
