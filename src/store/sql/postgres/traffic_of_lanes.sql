-- Minutes of lanes together, since $3. $1: their tenants as a JSON array, $2: their source, NULL for all.
SELECT at,
    (sum(events))::bigint AS events,
    (sum(refused))::bigint AS refused,
    (sum(succeeded))::bigint AS succeeded,
    (sum(failed))::bigint AS failed,
    (sum(dead))::bigint AS dead,
    (sum(waiting))::bigint AS waiting,
    (sum(acks))::bigint AS acks,
    (sum(acks_2))::bigint AS acks_2,
    (sum(acks_5))::bigint AS acks_5,
    (sum(acks_10))::bigint AS acks_10,
    (sum(acks_25))::bigint AS acks_25,
    (sum(acks_50))::bigint AS acks_50,
    (sum(acks_100))::bigint AS acks_100,
    (sum(acks_250))::bigint AS acks_250,
    (sum(acks_1000))::bigint AS acks_1000,
    (sum(acks_2000))::bigint AS acks_2000
FROM (
    SELECT at,
        sum(events) AS events,
        sum(refused) AS refused,
        sum(succeeded) AS succeeded,
        sum(failed) AS failed,
        sum(dead) AS dead,
        max(waiting) AS waiting,
        sum(acks) AS acks,
        sum(acks_2) AS acks_2,
        sum(acks_5) AS acks_5,
        sum(acks_10) AS acks_10,
        sum(acks_25) AS acks_25,
        sum(acks_50) AS acks_50,
        sum(acks_100) AS acks_100,
        sum(acks_250) AS acks_250,
        sum(acks_1000) AS acks_1000,
        sum(acks_2000) AS acks_2000
    FROM traffic
    WHERE tenant IN (SELECT jsonb_array_elements_text($1::text::jsonb)) AND tenant <> '' AND ($2::text IS NULL OR source = $2) AND at >= $3
    GROUP BY tenant, source, at
) AS lanes
GROUP BY at
ORDER BY at
