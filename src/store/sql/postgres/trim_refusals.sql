-- The newest 50 of a source stay.
DELETE FROM refusals
WHERE tenant = $1 AND source = $2 AND id <= (
    SELECT id FROM refusals WHERE tenant = $1 AND source = $2 ORDER BY id DESC LIMIT 1 OFFSET 50
)
