INSERT INTO nodes (id, started_at, lease_until, lanes) VALUES ('sample-of-lanes', 1767225600000, 1767225610000, '[]');
