-- What is read from here on is of one moment.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY
