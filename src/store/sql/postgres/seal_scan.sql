-- A tenant's rows of one table from one number to before another: how large each is, and whether it is sealed.
SELECT
    p.seq, (length(p.raw) + length(p.headers))::bigint AS size,
    substr(p.raw, 1, 4) = '\xff736c01'::bytea AND starts_with(p.headers, 'sealed1.') AS sealed
FROM payloads AS p
JOIN events AS e ON e.seq = p.seq
WHERE $1 = 'payloads' AND e.tenant = $2 AND p.seq >= $3 AND p.seq < $4
UNION ALL
SELECT f.seq, length(f.form)::bigint, starts_with(f.form, 'sealed1.')
FROM forms AS f
JOIN events AS e ON e.seq = f.event_seq
WHERE $1 = 'forms' AND e.tenant = $2 AND f.seq >= $3 AND f.seq < $4
UNION ALL
SELECT seq, length(checkpoint)::bigint, starts_with(checkpoint, 'sealed1.')
FROM jobs
WHERE $1 = 'jobs' AND tenant = $2 AND seq >= $3 AND seq < $4 AND checkpoint IS NOT NULL
UNION ALL
SELECT r.seq, length(r.result)::bigint, starts_with(r.result, 'sealed1.')
FROM results AS r
JOIN jobs AS j ON j.id = r.job_id
WHERE $1 = 'results' AND j.tenant = $2 AND r.seq >= $3 AND r.seq < $4
UNION ALL
SELECT id, (length(headers) + length(body))::bigint, starts_with(headers, '"sealed1.')
FROM refusals
WHERE $1 = 'refusals' AND tenant = $2 AND id >= $3 AND id < $4
ORDER BY 1
