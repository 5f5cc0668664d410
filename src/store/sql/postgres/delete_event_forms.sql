DELETE FROM forms WHERE event_seq = $1
