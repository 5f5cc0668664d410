-- What lies in the object store: a row before its object, and until after it. Payloads that are archived
-- outlive their events here, so what is needed to find and erase them is here too.
CREATE TABLE artifacts (
    id           BLOB NOT NULL PRIMARY KEY,
    tenant       TEXT NOT NULL,
    source       TEXT NOT NULL,
    kind         TEXT NOT NULL,
    -- Of an upload: the first that referred to it.
    event_id     BLOB,
    job_id       BLOB,
    subject_id   TEXT,
    media_type   TEXT NOT NULL,
    bytes        INTEGER NOT NULL,
    digest       BLOB NOT NULL,
    created_at   INTEGER NOT NULL,
    -- NULL while it is not known that the object is there.
    stored_at    INTEGER,
    -- NULL: it goes with its event.
    delete_after INTEGER
) STRICT;
CREATE INDEX artifacts_of_events ON artifacts (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX artifacts_of_jobs ON artifacts (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX artifacts_of_subjects ON artifacts (tenant, subject_id) WHERE subject_id IS NOT NULL;
CREATE INDEX uploads_of_tenants ON artifacts (tenant) WHERE kind = 'uploads';
CREATE INDEX expiring_artifacts ON artifacts (delete_after) WHERE delete_after IS NOT NULL;
