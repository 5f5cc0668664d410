-- The next ?1 numbers of events. There is one writer and it holds the write lock: nobody else takes
-- them.
WITH RECURSIVE numbers (number) AS (
    SELECT coalesce(max(seq), 0) + 1 FROM events
    UNION ALL
    SELECT number + 1 FROM numbers
    LIMIT ?1
)
SELECT number FROM numbers
