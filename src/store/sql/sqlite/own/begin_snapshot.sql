-- What is read from here on is of one moment.
BEGIN DEFERRED
