INSERT INTO payloads (seq, event_id, raw, headers, redacted, trace_link, quarantine_reason)
SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bytea[], $4::text[], $5::boolean[], $6::text[], $7::text[])
