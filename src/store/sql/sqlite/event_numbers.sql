-- The first number of each block that a batch asks for, counted on from the last event. `kind` as in
-- `find_duplicates`, with which it is asked.
WITH asked (number) AS MATERIALIZED (
    VALUES
    (?) -- repeated
)
SELECT number, 5 AS kind, coalesce((SELECT max(seq) FROM events), 0) + 1 + number AS value FROM asked
