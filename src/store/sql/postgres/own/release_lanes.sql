UPDATE lanes SET held = false
FROM unnest($2::text[], $3::text[], $4::bigint[]) AS given (tenant, source, epoch)
WHERE lanes.tenant = given.tenant AND lanes.source = given.source AND lanes.owner = $1
    AND lanes.epoch = given.epoch
RETURNING lanes.tenant, lanes.source
