SELECT {key} FROM {table} ORDER BY {backwards} LIMIT 1
