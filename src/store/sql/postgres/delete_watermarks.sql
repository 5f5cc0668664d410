DELETE FROM watermarks
USING unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) AS chosen (tenant, source, route, subject_id, before)
WHERE watermarks.tenant = chosen.tenant AND watermarks.source = chosen.source AND watermarks.route = chosen.route
    AND watermarks.subject_id = chosen.subject_id AND watermarks.occurred_at < chosen.before
RETURNING watermarks.route
