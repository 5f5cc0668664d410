SELECT tenant, source FROM switches
