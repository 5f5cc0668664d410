WITH chosen (seq) AS MATERIALIZED (
    VALUES
    (?) -- repeated
)
DELETE FROM events WHERE seq IN (SELECT seq FROM chosen)
