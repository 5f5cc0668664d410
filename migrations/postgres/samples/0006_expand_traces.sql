INSERT INTO events (
    seq, id, tenant, source, vendor, external_id, payload_hash, stored_hash, dedupe_key, event_type, occurred_at,
    received_at, signature_ok, secret_version, status, trace_id, keys_expire, sampled
) VALUES (
    0, '019376c0-0000-7000-8000-000000000009', 'acme', 'pay', 'stripe', 'evt_2', '\x00', '\x00',
    '\x00000000000000000000000000000002', 'invoice.paid', 1767225600000, 1767225600000, true, 'current', 'stored',
    '\x00000000000000000000000000000001', true, true
);
