-- One consistent moment of the file, taken while others write; into a file that is empty.
VACUUM INTO ?
