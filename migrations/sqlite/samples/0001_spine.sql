-- One row of each kind as this migration's release writes it. Later migrations run over these rows.
INSERT INTO events (
    seq, id, tenant, source, vendor, external_id, payload_hash, stored_hash, dedupe_key, replay_key, event_type,
    subject_id, occurred_at, received_at, signature_ok, secret_version, api_version, revises, status, trace_id,
    keys_expire
) VALUES (
    1, x'019376c0000070008000000000000001', 'acme', 'pay', 'stripe', 'evt_1', zeroblob(32), zeroblob(32),
    zeroblob(16), NULL, 'invoice.paid', 'in_1', 1767225600000, 1767225600000, 1, 'current', '2026-01-01', NULL,
    'stored', x'00000000000000000000000000000001', 1
);
INSERT INTO payloads VALUES (1, x'019376c0000070008000000000000001', x'7b7d', '{}', 0, NULL, NULL);
INSERT INTO forms VALUES (1, 1, x'019376c0000070008000000000000001', 1, '{}');
INSERT INTO jobs (
    id, event_id, tenant, source, route, type, state, class, attempts, claims, next_run_at, fence, created_at, updated_at
) VALUES (
    x'019376c0000070008000000000000002', x'019376c0000070008000000000000001', 'acme', 'pay', 'main', 'log',
    'deadletter', 1, 2, 2, 1767225600000, 2, 1767225600000, 1767225600000
);
INSERT INTO attempts VALUES (x'019376c0000070008000000000000002', 1, 1767225600000, 5, 'failed', '503');
INSERT INTO attempts VALUES (x'019376c0000070008000000000000002', 2, 1767225600000, 5, 'deadletter', '422');
INSERT INTO results VALUES (1, x'019376c0000070008000000000000002', '{}', 1767225600000);
INSERT INTO dead_letters VALUES (1, x'019376c0000070008000000000000002', 'rejected', '422', 1767225600000, NULL, NULL);
INSERT INTO keys VALUES ('acme', 'hub', zeroblob(16), x'019376c0000070008000000000000003', 'current');
INSERT INTO watermarks VALUES ('acme', 'pay', 'main', 'in_1', 1767225600000);
INSERT INTO handshakes VALUES (1, 'acme', 'pages', 1767225600000, NULL);
INSERT INTO refusals VALUES (
    1, 'acme', 'pay', 1767225600000, 'bad_signature', '192.0.2.1', 'POST /webhooks/acme/pay', '{}', '{}', 2, 'another key'
);
INSERT INTO audit (seq, at, actor, action, object, reason) VALUES (1, 1767225600000, 'ops', 'dead.replay', 'job_1', 'mended');
INSERT INTO tokens (id, digest, name, role, tenants, created_at, expires_at, revoked_at) VALUES (zeroblob(16), zeroblob(32), 'cli', 'admin', NULL, 1767225600000, NULL, NULL);
INSERT INTO users (name, password_hash, role, tenants, created_at, disabled_at) VALUES ('ops', 'x', 'operator', '["acme"]', 1767225600000, NULL);
INSERT INTO nodes VALUES ('node-1', 1767225600000, 1767225610000);
INSERT INTO lanes VALUES ('acme', 'pay', NULL, 0, 1, '[]');
