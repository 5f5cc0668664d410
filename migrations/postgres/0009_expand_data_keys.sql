-- The keys by which what is kept of a tenant is sealed, each wrapped by a key that the database never sees.
CREATE TABLE data_keys (
    id         uuid PRIMARY KEY,
    tenant     text COLLATE "C" NOT NULL,
    -- NULL once it was erased: nobody opens any more what it sealed.
    wrapped    bytea,
    -- The fingerprint of the key that wraps it.
    wrapped_by text NOT NULL,
    created_at bigint NOT NULL,
    erased_at  bigint
);

CREATE INDEX data_keys_tenant ON data_keys (tenant, id);

-- A form may be sealed as it is; nothing else of it changes.
CREATE FUNCTION forms_are_only_sealed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF starts_with(new.form, 'sealed1.') AND NOT starts_with(old.form, 'sealed1.') THEN
        old.form := new.form;
        IF new IS NOT DISTINCT FROM old THEN
            RETURN new;
        END IF;
    END IF;
    RAISE EXCEPTION 'the rows of forms are never rewritten';
END
$$;

DROP TRIGGER forms_are_append_only ON forms;
CREATE TRIGGER forms_are_append_only BEFORE UPDATE ON forms
FOR EACH ROW EXECUTE FUNCTION forms_are_only_sealed();
