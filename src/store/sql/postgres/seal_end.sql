-- The last of the next so many rows of a table, whosesoever.
SELECT max(last) AS last FROM (
    SELECT max(seq) AS last
    FROM (SELECT seq FROM payloads WHERE $1 = 'payloads' AND seq >= $2 ORDER BY seq LIMIT $3) AS p
    UNION ALL
    SELECT max(seq) FROM (SELECT seq FROM forms WHERE $1 = 'forms' AND seq >= $2 ORDER BY seq LIMIT $3) AS f
    UNION ALL
    SELECT max(seq) FROM (SELECT seq FROM jobs WHERE $1 = 'jobs' AND seq >= $2 ORDER BY seq LIMIT $3) AS j
    UNION ALL
    SELECT max(seq) FROM (SELECT seq FROM results WHERE $1 = 'results' AND seq >= $2 ORDER BY seq LIMIT $3) AS r
    UNION ALL
    SELECT max(id) FROM (SELECT id FROM refusals WHERE $1 = 'refusals' AND id >= $2 ORDER BY id LIMIT $3) AS u
) AS ends
