SELECT tenant, source FROM lanes WHERE paused = 1 ORDER BY tenant, source
