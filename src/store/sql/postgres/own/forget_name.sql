-- An earlier process of the same data folder is dead: this one has the lock of the folder.
DELETE FROM nodes WHERE name = $1
