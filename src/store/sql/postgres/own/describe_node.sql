UPDATE nodes SET config = $2::text::jsonb, callees = $3::text::jsonb, lanes = $4::text::jsonb WHERE id = $1
