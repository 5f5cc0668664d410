-- Whether the spans of an event's trace are kept, as it was decided when the trace began. The trigger
-- that keeps events as they are compares whole rows.
ALTER TABLE events ADD COLUMN sampled boolean NOT NULL DEFAULT false;
