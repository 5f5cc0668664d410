INSERT INTO events (
    seq, id, tenant, source, vendor, external_id, payload_hash, stored_hash, dedupe_key, event_type, occurred_at,
    received_at, signature_ok, secret_version, status, trace_id, keys_expire, sampled
) VALUES (
    0, x'019376c0000070008000000000000009', 'acme', 'pay', 'stripe', 'evt_2', zeroblob(32), zeroblob(32),
    x'00000000000000000000000000000002', 'invoice.paid', 1767225600000, 1767225600000, 1, 'current', 'stored',
    x'00000000000000000000000000000001', 1, 1
);
