SELECT tenant, source, paused, breaker FROM lanes WHERE paused = 1 OR breaker <> '[]' ORDER BY tenant, source
