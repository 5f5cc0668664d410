SELECT e.id, e.tenant, e.source, e.subject_id, p.raw
FROM events AS e
JOIN payloads AS p ON p.seq = e.seq
WHERE e.id = ?1
