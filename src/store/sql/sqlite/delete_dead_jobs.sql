WITH chosen (id) AS MATERIALIZED (
    VALUES
    (?) -- repeated
)
DELETE FROM jobs WHERE id IN (SELECT id FROM chosen) AND state = 'deadletter' RETURNING id, tenant, source
