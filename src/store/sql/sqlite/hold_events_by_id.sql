-- Nothing to hold: the writer is the only one.
WITH chosen (id) AS MATERIALIZED (
    VALUES
    (?) -- repeated
)
SELECT events.seq FROM chosen JOIN events ON events.id = chosen.id
