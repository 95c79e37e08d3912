-- name: fold_sessions
-- Brings the rows of these sessions, by id and start, up to what their events say.
SELECT session_refold($1::uuid[], $2::timestamptz[]);

-- name: sessions_of_user
-- One user's sessions that overlap [$3, $4), newest first; a session without length counts.
SELECT sessions.*
FROM sessions
WHERE hub = $1
    AND username = $2
    AND started_at < $4
    AND (ended_at IS NULL OR ended_at > $3 OR started_at >= $3)
ORDER BY started_at DESC, id
LIMIT $5;
