-- Nobody adds a job to these events until the transaction ends.
SELECT events.seq FROM unnest($1::uuid[]) AS chosen (id)
JOIN events ON events.id = chosen.id
ORDER BY events.seq
FOR UPDATE OF events
