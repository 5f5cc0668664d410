-- `kind` tells its rows from those of `find_duplicates`, with which it is asked.
WITH asked (number, tenant, source, route, subject_id) AS MATERIALIZED (
    VALUES
    (?, ?, ?, ?, ?) -- repeated
)
SELECT a.number, 4 AS kind, w.occurred_at AS value
FROM asked AS a
CROSS JOIN watermarks AS w
    ON w.tenant = a.tenant AND w.source = a.source AND w.route = a.route AND w.subject_id = a.subject_id
