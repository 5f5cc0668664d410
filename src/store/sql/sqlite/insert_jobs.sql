INSERT OR ROLLBACK INTO jobs (
    id, event_id, tenant, source, route, type, state, class, next_run_at, created_at, updated_at, finished_at
)
VALUES
    (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) -- repeated
