SELECT pg_notify('sluice', $1)
