-- Of several nodes that do so at once, one does.
UPDATE data_keys SET wrapped = $3, wrapped_by = $4 WHERE id = $1 AND wrapped_by = $2 AND wrapped IS NOT NULL
