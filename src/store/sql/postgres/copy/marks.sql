SELECT name, value FROM sluice_copy
