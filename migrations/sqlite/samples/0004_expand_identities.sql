INSERT INTO users (name, password_hash, role, tenants, created_at)
VALUES ('oidc:carol', '', 'operator', '["acme"]', 1767225600000);
INSERT INTO identities (issuer, subject, user_name, created_at)
VALUES ('https://login.example.com', '248289761001', 'oidc:carol', 1767225600000);
