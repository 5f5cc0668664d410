SELECT paused, breaker FROM lanes WHERE tenant = ? AND source = ?
