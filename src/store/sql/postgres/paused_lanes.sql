SELECT tenant, source FROM lanes WHERE paused ORDER BY tenant, source
