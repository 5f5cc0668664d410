-- `kind` tells its rows from those of `find_duplicates`, with which it is asked.
SELECT a.number, 4::bigint AS kind, NULL::uuid AS event_id, NULL::bytea AS payload_hash, w.occurred_at AS value
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[])
    AS a (number, tenant, source, route, subject_id)
JOIN watermarks AS w
    ON w.tenant = a.tenant AND w.source = a.source AND w.route = a.route AND w.subject_id = a.subject_id
