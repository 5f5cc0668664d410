-- Nothing to hold: the writer is the only one.
WITH chosen (seq) AS MATERIALIZED (
    VALUES
    (?) -- repeated
)
SELECT events.seq FROM chosen JOIN events ON events.seq = chosen.seq
