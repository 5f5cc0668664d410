-- Of an upload: until when its bytes may still come, under the URL that its sender was given.
ALTER TABLE artifacts ADD COLUMN uploadable_until INTEGER;
CREATE INDEX promised_uploads ON artifacts (uploadable_until) WHERE kind = 'uploads' AND stored_at IS NULL;
-- To find what a tenant had when its keys were erased.
CREATE INDEX artifacts_of_tenants ON artifacts (tenant, created_at);
-- In the order in which they are removed: what was erased together has one time.
DROP INDEX expiring_artifacts;
CREATE INDEX expiring_artifacts ON artifacts (delete_after, id) WHERE delete_after IS NOT NULL;
