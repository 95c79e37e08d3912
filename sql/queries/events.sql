-- name: lock_hubs
-- Makes writers for the same Hub take turns, so that each fold sees all of a session's events.
SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS keys (key);

-- name: intern
-- Keeps servers, circumstances, facts and nodes, each once, and makes room for events.
-- They are filed at the moments of $13.
-- In order, so that two writers never wait for one another. A later statement sees also what
-- another has added.
WITH new_servers AS (
    INSERT INTO servers (hub, username, server_name)
    SELECT hub, username, server_name
    FROM unnest($1::text[], $2::text[], $3::text[]) AS told (hub, username, server_name)
    WHERE NOT EXISTS (
        SELECT FROM servers AS kept
        WHERE kept.hub = told.hub
            AND kept.username = told.username
            AND kept.server_name = told.server_name)
    ORDER BY hub, username, server_name
    ON CONFLICT DO NOTHING
),
new_circumstances AS (
    INSERT INTO circumstances (digest, kind, source, reason, actor, exit_status)
    SELECT digest, kind, source, reason, actor, exit_status
    FROM unnest($4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[], $9::integer[])
        AS told (digest, kind, source, reason, actor, exit_status)
    WHERE NOT EXISTS (SELECT FROM circumstances AS kept WHERE kept.digest = told.digest)
    ORDER BY digest
    ON CONFLICT DO NOTHING
),
new_facts AS (
    INSERT INTO fact_sets (digest, facts)
    SELECT digest, facts
    FROM unnest($10::bytea[], $11::jsonb[]) AS told (digest, facts)
    WHERE NOT EXISTS (SELECT FROM fact_sets AS kept WHERE kept.digest = told.digest)
    ORDER BY digest
    ON CONFLICT DO NOTHING
),
new_words AS (
    INSERT INTO words (word)
    SELECT word
    FROM unnest($12::text[]) AS told (word)
    WHERE NOT EXISTS (SELECT FROM words AS kept WHERE kept.word = told.word)
    ORDER BY word
    ON CONFLICT DO NOTHING
)
SELECT make_event_partitions($13::timestamptz[]);

-- name: insert_events
-- Stores the events that are not there yet; gives the new ones, their sessions and those' starts.
-- The first six values are by what the store finds again what intern took; each event says which
-- of each it has, from 1.
WITH server_ids AS MATERIALIZED (
    SELECT told.place, kept.id
    FROM unnest($1::text[], $2::text[], $3::text[])
        WITH ORDINALITY AS told (hub, username, server_name, place)
    JOIN servers AS kept ON kept.hub = told.hub
        AND kept.username = told.username
        AND kept.server_name = told.server_name
),
circumstance_ids AS MATERIALIZED (
    SELECT told.place, kept.id
    FROM unnest($4::bytea[]) WITH ORDINALITY AS told (digest, place)
    JOIN circumstances AS kept ON kept.digest = told.digest
),
fact_ids AS MATERIALIZED (
    SELECT told.place, kept.id
    FROM unnest($5::bytea[]) WITH ORDINALITY AS told (digest, place)
    JOIN fact_sets AS kept ON kept.digest = told.digest
),
word_ids AS MATERIALIZED (
    SELECT told.place, kept.id
    FROM unnest($6::text[]) WITH ORDINALITY AS told (word, place)
    JOIN words AS kept ON kept.word = told.word
)
INSERT INTO event_rows (
    id, session_id, filed_at, occurred_at, not_before, not_after, server_id, circumstance_id,
    request_facts_id, server_facts_id, other_facts_id, node_id)
SELECT
    told.id,
    told.session_id,
    coalesce(told.started_at, told.occurred_at),
    told.occurred_at,
    CASE WHEN told.not_before < told.not_after THEN told.not_before END,
    CASE WHEN told.not_before < told.not_after THEN told.not_after END,
    server_ids.id,
    circumstance_ids.id,
    request_facts.id,
    server_facts.id,
    other_facts.id,
    node.id
FROM unnest(
    $7::uuid[], $8::uuid[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[],
    $12::timestamptz[], $13::integer[], $14::integer[], $15::integer[], $16::integer[],
    $17::integer[], $18::integer[]
) AS told (
    id, session_id, started_at, occurred_at, not_before, not_after, server, circumstance,
    request_facts, server_facts, other_facts, node)
JOIN server_ids ON server_ids.place = told.server
JOIN circumstance_ids ON circumstance_ids.place = told.circumstance
LEFT JOIN fact_ids AS request_facts ON request_facts.place = told.request_facts
LEFT JOIN fact_ids AS server_facts ON server_facts.place = told.server_facts
LEFT JOIN fact_ids AS other_facts ON other_facts.place = told.other_facts
LEFT JOIN word_ids AS node ON node.place = told.node
ON CONFLICT (filed_at, id) DO NOTHING
RETURNING id, session_id, filed_at;
