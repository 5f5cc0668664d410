INSERT INTO artifacts (id, tenant, source, kind, media_type, bytes, digest, created_at, delete_after, uploadable_until)
VALUES ('0193a7d4-c1e8-7cc0-a3f0-c5d6e7f80913', 'acme', 'pay', 'uploads', 'image/png', 5, '\x00', 1767225600000, 1769817600000, 1767230100000);
