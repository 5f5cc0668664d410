-- Which database of which server it is, whatever name or address it was reached by.
SELECT oid::text || ' ' || pg_postmaster_start_time()::text FROM pg_database WHERE datname = current_database()
