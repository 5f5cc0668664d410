WITH chosen (seq) AS MATERIALIZED (
    VALUES
    (?) -- repeated
)
DELETE FROM payloads WHERE seq IN (SELECT seq FROM chosen)
