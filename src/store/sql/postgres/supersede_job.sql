-- `coalesce`, so that no partial index by the state is taken in place of the one by id.
UPDATE jobs SET state = 'superseded', updated_at = $2, finished_at = $2
WHERE id = $1 AND coalesce(state, '') IN ('pending', 'failed')
