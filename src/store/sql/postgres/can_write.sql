-- The locks that a delivery takes: fails where somebody else's would keep it waiting.
LOCK TABLE events, payloads, forms, jobs IN ROW EXCLUSIVE MODE
