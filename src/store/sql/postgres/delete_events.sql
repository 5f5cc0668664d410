DELETE FROM events WHERE seq IN (SELECT unnest($1::bigint[]))
