INSERT INTO artifacts (id, tenant, source, kind, media_type, bytes, digest, created_at, delete_after, uploadable_until)
VALUES (x'0193a7d4c1e87cc0a3f0c5d6e7f80913', 'acme', 'pay', 'uploads', 'image/png', 5, x'00', 1767225600000, 1769817600000, 1767230100000);
