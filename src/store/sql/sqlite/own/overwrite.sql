-- What is taken away is overwritten, in free pages too.
PRAGMA secure_delete = ON
