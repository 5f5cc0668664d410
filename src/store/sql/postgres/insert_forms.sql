INSERT INTO forms (event_seq, event_id, schema_version, form)
SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::text[])
