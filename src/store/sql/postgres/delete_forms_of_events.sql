DELETE FROM forms WHERE event_seq IN (SELECT unnest($1::bigint[]))
