-- The first and the last number of each table that has rows to seal.
SELECT 'payloads' AS kind, coalesce(min(seq), 0) AS first, coalesce(max(seq), -1) AS last FROM payloads
UNION ALL
SELECT 'forms', coalesce(min(seq), 0), coalesce(max(seq), -1) FROM forms
UNION ALL
SELECT 'jobs', coalesce(min(seq), 0), coalesce(max(seq), -1) FROM jobs
UNION ALL
SELECT 'results', coalesce(min(seq), 0), coalesce(max(seq), -1) FROM results
UNION ALL
SELECT 'refusals', coalesce(min(id), 0), coalesce(max(id), -1) FROM refusals
