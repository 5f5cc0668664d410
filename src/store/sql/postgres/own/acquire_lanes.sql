-- Takes lanes that no other live node has, as far as $1 is a live node. A lane stays with the
-- configuration it ran with while a node lives that has it.
WITH me AS (
    SELECT id FROM nodes WHERE id = $1 FOR KEY SHARE
), asked AS (
    SELECT tenant, source, config FROM unnest($2::text[], $3::text[], $4::text[]) AS a (tenant, source, config)
), before AS (
    SELECT lanes.tenant, lanes.source, lanes.owner FROM asked
    JOIN lanes ON lanes.tenant = asked.tenant AND lanes.source = asked.source
), taken AS (
    INSERT INTO lanes AS l (tenant, source, owner, epoch, held, config)
    SELECT asked.tenant, asked.source, me.id, 1, true, asked.config FROM asked CROSS JOIN me
    ORDER BY asked.tenant, asked.source
    ON CONFLICT (tenant, source) DO UPDATE
    SET owner = excluded.owner, epoch = l.epoch + 1, held = true, config = excluded.config
    WHERE l.owner IS NOT DISTINCT FROM excluded.owner
        OR (NOT l.held OR NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.id = l.owner))
        AND (
            l.config IS NOT DISTINCT FROM excluded.config
            OR NOT EXISTS (
                SELECT 1 FROM nodes WHERE nodes.id <> excluded.owner AND nodes.config ->> l.tenant = l.config
            )
        )
    RETURNING l.tenant, l.source, l.epoch, l.paused, l.breaker
)
SELECT
    taken.tenant, taken.source, taken.epoch, taken.paused, taken.breaker,
    coalesce(before.owner <> $1, false) AS taken_over
FROM taken
LEFT JOIN before ON before.tenant = taken.tenant AND before.source = taken.source
