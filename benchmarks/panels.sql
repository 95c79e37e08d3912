-- Gives every session one row of samples, as if a sampler on its node had measured it from its
-- start to its end.
INSERT INTO session_samples
SELECT
    sessions.id, 'node', sessions.started_at, sessions.ended_at, measured.seconds / 5,
    measured.seconds, measured.seconds * measured.peak / 2, measured.peak, measured.peak / 3,
    measured.seconds, measured.seconds / 4, 2, 0.25, 0, 0, 0, NULL, NULL
FROM sessions
CROSS JOIN LATERAL (
    SELECT
        extract(epoch FROM sessions.ended_at - sessions.started_at)::double precision AS seconds,
        (sessions.memory_guarantee_bytes * (get_byte(uuid_send(sessions.id), 15) / 230.0))::bigint
            AS peak
) AS measured
WHERE sessions.state = 'ended';
