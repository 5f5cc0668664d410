SELECT count(*) AS count, coalesce(sum(bytes), 0)::bigint AS bytes FROM artifacts
WHERE tenant = $1 AND kind = 'uploads' AND delete_after > $2
