SELECT paused, breaker FROM lanes WHERE tenant = $1 AND source = $2
