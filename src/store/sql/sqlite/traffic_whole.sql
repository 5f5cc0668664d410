-- Minutes of all nodes together, since ?1. What waits is the same at each of them.
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
WHERE tenant = '' AND source = '' AND at >= ?1
GROUP BY at
ORDER BY at
