-- `ok`, or what is wrong. One line of it is enough.
PRAGMA integrity_check(1)
