DELETE FROM attempts
WHERE job_id IN (
    SELECT jobs.id FROM unnest($1::uuid[]) AS chosen (event_id) JOIN jobs ON jobs.event_id = chosen.event_id
)
