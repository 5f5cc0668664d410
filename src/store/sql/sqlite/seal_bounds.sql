-- The first and the last number of each table that has rows to seal. Apart, for SQLite finds both at once only by
-- reading all.
SELECT 'payloads' AS kind, coalesce((SELECT min(seq) FROM payloads), 0) AS first, coalesce((SELECT max(seq) FROM payloads), -1) AS last
UNION ALL
SELECT 'forms', coalesce((SELECT min(seq) FROM forms), 0), coalesce((SELECT max(seq) FROM forms), -1)
UNION ALL
SELECT 'jobs', coalesce((SELECT min(seq) FROM jobs), 0), coalesce((SELECT max(seq) FROM jobs), -1)
UNION ALL
SELECT 'results', coalesce((SELECT min(seq) FROM results), 0), coalesce((SELECT max(seq) FROM results), -1)
UNION ALL
SELECT 'refusals', coalesce((SELECT min(id) FROM refusals), 0), coalesce((SELECT max(id) FROM refusals), -1)
