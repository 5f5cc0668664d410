-- The keys by which what is kept of a tenant is sealed, each wrapped by a key that the database never sees.
CREATE TABLE data_keys (
    id         BLOB PRIMARY KEY,
    tenant     TEXT NOT NULL,
    -- NULL once it was erased: nobody opens any more what it sealed.
    wrapped    BLOB,
    -- The fingerprint of the key that wraps it.
    wrapped_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    erased_at  INTEGER
) STRICT;

CREATE INDEX data_keys_tenant ON data_keys (tenant, id);

-- A form may be sealed as it is; nothing else of it changes.
DROP TRIGGER forms_are_append_only;
CREATE TRIGGER forms_are_append_only BEFORE UPDATE ON forms
WHEN NOT (
    substr(new.form, 1, 8) = 'sealed1.' AND substr(old.form, 1, 8) <> 'sealed1.'
    AND new.seq = old.seq AND new.event_seq = old.event_seq AND new.event_id = old.event_id
    AND new.schema_version = old.schema_version
)
BEGIN
    SELECT raise(ABORT, 'a form is never rewritten');
END;
