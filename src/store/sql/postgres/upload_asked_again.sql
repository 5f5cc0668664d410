-- Its sender was given a URL once more.
UPDATE artifacts SET uploadable_until = greatest(coalesce(uploadable_until, $2), $2)
WHERE id = $1
