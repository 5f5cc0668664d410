WITH chosen (seq) AS MATERIALIZED (
    VALUES
    (?) -- repeated
)
INSERT INTO keys (tenant, source, key, event_id, secret_version)
SELECT tenant, source, dedupe_key, id, secret_version FROM events WHERE seq IN (SELECT seq FROM chosen)
UNION ALL
SELECT tenant, source, replay_key, id, secret_version FROM events
WHERE seq IN (SELECT seq FROM chosen) AND replay_key IS NOT NULL
ON CONFLICT (tenant, source, key) DO NOTHING
