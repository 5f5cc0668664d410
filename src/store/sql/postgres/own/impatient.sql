-- Back to what the connection began with.
RESET statement_timeout
