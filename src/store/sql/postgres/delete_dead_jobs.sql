-- `coalesce`, so that no partial index by the state is taken in place of the one by id.
DELETE FROM jobs
WHERE id IN (SELECT unnest($1::uuid[])) AND coalesce(state, '') = 'deadletter'
RETURNING id, tenant, source
