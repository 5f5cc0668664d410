DROP TABLE sluice_copy
