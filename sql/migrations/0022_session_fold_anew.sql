-- The fold of what nobody has folded yet.

-- For a rebuild: where no session is, one statement writes them, with what checks measured of them,
-- and no usage follows. The temporary tables are those of sql/queries/usage.sql.
CREATE FUNCTION session_fold_anew(since timestamptz, until timestamptz) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    folded integer;
BEGIN
    TRUNCATE folded_sessions;
    INSERT INTO folded_sessions
    SELECT * FROM session_fold_digested AS fold
    WHERE fold.started_at >= since AND fold.started_at < until;
    GET DIAGNOSTICS folded = ROW_COUNT;
    PERFORM session_intern(ARRAY(
        SELECT fold::session_fold_digested
        FROM (
            SELECT DISTINCT ON (
                hub, username, server_name, description_digest, request_digest) *
            FROM folded_sessions
        ) AS fold));
    WITH known AS MATERIALIZED (
        SELECT
            fold.id,
            fold.started_at,
            fold.ready_at,
            fold.ended_at,
            CASE WHEN fold.ended_after < fold.ended_before THEN fold.ended_after END,
            CASE WHEN fold.ended_after < fold.ended_before THEN fold.ended_before END,
            kept.seen_at,
            kept.polled_at,
            kept.last_activity_at,
            kept.active_seconds,
            kept.resolution_seconds,
            servers.id,
            fold.ending_id,
            descriptions.id,
            requests.id,
            node.id,
            fold.state::session_state,
            fold.simulated,
            fold.inferred,
            kept.active_hours
        FROM folded_sessions AS fold
        JOIN servers ON servers.hub = fold.hub
            AND servers.username = fold.username
            AND servers.server_name = fold.server_name
        JOIN descriptions ON descriptions.digest = fold.description_digest
        JOIN requests ON requests.digest = fold.request_digest
        LEFT JOIN words AS node ON node.word = fold.node
        LEFT JOIN activity_to_keep AS kept ON kept.id = fold.id
            AND kept.started_at >= since AND kept.started_at < until
    ),
    opened AS (
        INSERT INTO open_sessions SELECT * FROM known WHERE ended_at IS NULL
    )
    INSERT INTO ended_sessions SELECT * FROM known WHERE ended_at IS NOT NULL;
    RETURN folded;
END
$$;

COMMENT ON FUNCTION session_fold_anew IS
    'Writes the sessions that started in [since, until), of which there are none; gives how many.';
