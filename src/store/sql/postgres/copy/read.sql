SELECT {columns} FROM {table} ORDER BY {key}
