SELECT tenant, source, paused, breaker FROM lanes WHERE paused OR breaker <> '[]' ORDER BY tenant, source
