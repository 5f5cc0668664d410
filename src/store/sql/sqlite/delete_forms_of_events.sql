WITH chosen (seq) AS MATERIALIZED (
    VALUES
    (?) -- repeated
)
DELETE FROM forms WHERE event_seq IN (SELECT seq FROM chosen)
