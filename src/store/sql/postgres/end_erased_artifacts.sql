-- What a tenant had when its keys were erased, some of it. An object may have come that nobody told of.
UPDATE artifacts SET delete_after = $1, stored_at = coalesce(stored_at, $1)
WHERE id IN (
    SELECT artifacts.id FROM artifacts
    INNER JOIN (
        SELECT tenant, max(erased_at) AS erased_at FROM data_keys WHERE erased_at IS NOT NULL GROUP BY tenant
    ) AS erased ON artifacts.tenant = erased.tenant
    WHERE artifacts.created_at <= erased.erased_at AND (artifacts.delete_after IS NULL OR artifacts.delete_after > $1)
    LIMIT $2
    FOR UPDATE OF artifacts SKIP LOCKED
)
