-- Minutes of all nodes together, since $1. What waits is the same at each of them.
SELECT at,
    (sum(events))::bigint AS events,
    (sum(refused))::bigint AS refused,
    (sum(succeeded))::bigint AS succeeded,
    (sum(failed))::bigint AS failed,
    (sum(dead))::bigint AS dead,
    (max(waiting))::bigint AS waiting,
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
FROM traffic
WHERE tenant = '' AND source = '' AND at >= $1
GROUP BY at
ORDER BY at
