-- What lies in the object store: a row before its object, and until after it. Payloads that are archived
-- outlive their events here, so what is needed to find and erase them is here too.
CREATE TABLE artifacts (
    id           uuid PRIMARY KEY,
    tenant       text COLLATE "C" NOT NULL,
    source       text COLLATE "C" NOT NULL,
    kind         text COLLATE "C" NOT NULL,
    -- Of an upload: the first that referred to it.
    event_id     uuid,
    job_id       uuid,
    subject_id   text COLLATE "C",
    media_type   text COLLATE "C" NOT NULL,
    bytes        bigint NOT NULL,
    digest       bytea NOT NULL,
    created_at   bigint NOT NULL,
    -- NULL while it is not known that the object is there.
    stored_at    bigint,
    -- NULL: it goes with its event.
    delete_after bigint
);
CREATE INDEX artifacts_of_events ON artifacts (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX artifacts_of_jobs ON artifacts (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX artifacts_of_subjects ON artifacts (tenant, subject_id) WHERE subject_id IS NOT NULL;
CREATE INDEX uploads_of_tenants ON artifacts (tenant) WHERE kind = 'uploads';
CREATE INDEX expiring_artifacts ON artifacts (delete_after) WHERE delete_after IS NOT NULL;
