-- Nobody adds a job to these events until the transaction ends.
SELECT events.seq FROM unnest($1::bigint[]) AS chosen (seq)
JOIN events ON events.seq = chosen.seq
ORDER BY events.seq
FOR UPDATE OF events
