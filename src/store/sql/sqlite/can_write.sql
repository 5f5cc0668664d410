-- The transaction has the write lock already.
SELECT 1
