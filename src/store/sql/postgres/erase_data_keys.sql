-- Clocks of nodes differ: what is there of the tenant is older than its erasure.
UPDATE data_keys SET
    wrapped = NULL,
    erased_at = greatest($2, (SELECT coalesce(max(created_at), 0) FROM artifacts WHERE artifacts.tenant = $1))
WHERE tenant = $1 AND erased_at IS NULL
RETURNING id
