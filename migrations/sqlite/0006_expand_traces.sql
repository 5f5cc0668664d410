-- Whether the spans of an event's trace are kept, as it was decided when the trace began.
ALTER TABLE events ADD COLUMN sampled INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER events_are_immutable;
CREATE TRIGGER events_are_immutable BEFORE UPDATE ON events
WHEN NOT (
    new.status = 'released' AND old.status <> 'released'
    AND new.seq = old.seq AND new.id = old.id AND new.tenant = old.tenant AND new.source = old.source
    AND new.vendor = old.vendor AND new.external_id = old.external_id
    AND new.payload_hash = old.payload_hash AND new.stored_hash = old.stored_hash
    AND new.dedupe_key = old.dedupe_key AND new.replay_key IS old.replay_key
    AND new.event_type = old.event_type AND new.subject_id IS old.subject_id
    AND new.occurred_at = old.occurred_at AND new.received_at = old.received_at
    AND new.signature_ok = old.signature_ok AND new.secret_version = old.secret_version
    AND new.api_version IS old.api_version AND new.revises IS old.revises
    AND new.trace_id = old.trace_id AND new.keys_expire = old.keys_expire AND new.sampled = old.sampled
)
BEGIN
    SELECT RAISE(ABORT, 'an event never changes but its status, and that only to released');
END;
