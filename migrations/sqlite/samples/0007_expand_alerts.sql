INSERT INTO alert_marks (tenant, place, cause, told_at, suppressed, held)
VALUES ('acme', 'pay', 'breaker_opened', 1767225600000, 2, '{"id":"alert_1"}');
