-- Only while a copy is not finished: what it is of, and the key of the last row of each table.
CREATE TABLE sluice_copy (name text PRIMARY KEY, value text NOT NULL) STRICT
