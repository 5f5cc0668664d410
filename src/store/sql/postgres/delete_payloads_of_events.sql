DELETE FROM payloads WHERE seq IN (SELECT unnest($1::bigint[]))
