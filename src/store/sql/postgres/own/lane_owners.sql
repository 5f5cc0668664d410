SELECT lanes.tenant, lanes.source, lanes.owner FROM lanes
JOIN nodes ON nodes.id = lanes.owner
WHERE lanes.held
