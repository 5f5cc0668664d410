-- Which jobs an event has, by route.
SELECT route FROM jobs WHERE event_id = $1
