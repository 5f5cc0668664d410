SELECT version, checksum, description FROM _sqlx_migrations ORDER BY version
