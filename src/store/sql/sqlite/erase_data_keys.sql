UPDATE data_keys SET wrapped = NULL, erased_at = ?2 WHERE tenant = ?1 AND erased_at IS NULL
RETURNING id
