UPDATE refusals SET headers = ?2, body = '' WHERE id = ?1
