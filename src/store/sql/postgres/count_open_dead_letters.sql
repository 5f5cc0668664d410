SELECT count(*) AS letters
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
    AND ($9::text IS NULL AND $10::text IS NULL OR EXISTS (
        SELECT 1 FROM events AS e
        WHERE e.id = j.event_id AND ($10::text IS NULL OR e.subject_id = $10)
            AND ($9::text IS NULL OR (e.event_type = $9 OR substr($9::text, length($9::text)) = '*' AND substr(e.event_type, 1, length($9::text) - 1) = substr($9::text, 1, length($9::text) - 1)))
    ))
