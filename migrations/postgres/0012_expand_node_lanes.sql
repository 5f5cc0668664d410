-- Which of a node's lanes do not flow, and why, for people who ask another node: snapshots as a JSON array. NULL: it does
-- not tell.
ALTER TABLE nodes ADD COLUMN lanes jsonb;
