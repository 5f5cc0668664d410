-- Which of the keys that sealed new events were erased meanwhile. `kind` as in `find_duplicates`, with which it is
-- asked.
WITH asked (number, id) AS MATERIALIZED (
    VALUES
    (?, ?) -- repeated
)
SELECT a.number, 6 AS kind FROM asked AS a CROSS JOIN data_keys AS k ON k.id = a.id WHERE k.erased_at IS NOT NULL
