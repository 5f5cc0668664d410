-- Of every job that can still run.
UPDATE jobs SET fence = fence + $1 WHERE state NOT IN ('succeeded', 'superseded', 'cancelled')
