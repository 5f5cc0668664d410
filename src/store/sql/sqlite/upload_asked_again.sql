-- Its sender was given a URL once more.
UPDATE artifacts SET uploadable_until = max(coalesce(uploadable_until, ?2), ?2)
WHERE id = ?1
