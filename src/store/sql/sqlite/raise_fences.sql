-- Of every job that can still run.
UPDATE jobs SET fence = fence + ? WHERE state NOT IN ('succeeded', 'superseded', 'cancelled')
