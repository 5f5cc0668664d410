SELECT j.id, j.tenant, j.source
FROM dead_letters AS d
JOIN jobs AS j ON j.id = d.job_id
WHERE d.replayed_at IS NULL AND j.state = 'deadletter'
    AND ($8::text IS NULL OR j.tenant IN (SELECT jsonb_array_elements_text($8::text::jsonb)))
    AND ($1::uuid IS NULL OR j.id = $1)
    AND ($2::text IS NULL OR j.tenant = $2)
    AND ($3::text IS NULL OR j.source = $3)
    AND ($4::text IS NULL OR j.route = $4)
    AND ($5::text IS NULL OR d.reason = $5)
    AND d.at >= coalesce($6, -9223372036854775808)
    AND d.at < coalesce($7, 9223372036854775807)
ORDER BY d.at, d.seq
LIMIT $9
