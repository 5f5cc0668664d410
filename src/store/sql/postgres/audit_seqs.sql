SELECT coalesce(min(seq), 0) AS first, coalesce(max(seq), -1) AS last FROM audit
