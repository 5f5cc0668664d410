-- What must be true of a server before anything is acknowledged on it.
SELECT
    current_setting('server_version_num')::bigint AS version,
    current_setting('server_version') AS version_name,
    current_setting('server_encoding') AS encoding,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    coalesce(current_schema()::text, '') AS schema,
    pg_is_in_recovery() AS standby
