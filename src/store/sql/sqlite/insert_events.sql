INSERT OR ROLLBACK INTO events (
    seq, id, tenant, source, vendor, external_id, payload_hash, stored_hash, dedupe_key, replay_key, event_type,
    subject_id, occurred_at, received_at, signature_ok, secret_version, api_version, revises, status, trace_id,
    keys_expire, sampled
)
VALUES
    (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?) -- repeated
