INSERT INTO switches (tenant, source, off_at) VALUES ('acme', 'hub', 1767225600000);
