-- What makes questions over a year quick. Both are computed from usage_days alone.

CREATE TABLE usage_months (
    running_microseconds bigint NOT NULL,
    month                date NOT NULL,
    account_id           integer NOT NULL,
    description_id       integer NOT NULL,
    starts               integer NOT NULL,
    failures             integer NOT NULL,
    waiting_microseconds bigint NOT NULL,
    active_microseconds  bigint NOT NULL,
    active_known         integer NOT NULL,
    CONSTRAINT usage_months_pkey PRIMARY KEY (month, account_id, description_id)
) WITH (fillfactor = 80);

COMMENT ON TABLE usage_months IS
    'usage_days by month, user and description. Changes with it, in the same transaction.';
COMMENT ON COLUMN usage_months.active_known IS
    'Rows of usage_days that know of activity; it is not known where none does.';

-- A row for each thing that a panel draws. Arrays have the 24 hours of the day.
CREATE TABLE usage_summary (
    day                  date NOT NULL,
    hub                  text NOT NULL,
    dimension            text NOT NULL,
    value                text,
    users                integer NOT NULL,
    running_microseconds bigint NOT NULL,
    hour_users           integer[] NOT NULL,
    hour_microseconds    bigint[] NOT NULL,
    CONSTRAINT usage_summary_dimension_known CHECK (
        dimension IN ('hub', 'node', 'image', 'profile', 'gpus'))
);

CREATE INDEX usage_summary_day ON usage_summary (day, dimension);

CREATE TABLE usage_due (
    day       date,
    dimension text,
    PRIMARY KEY (day, dimension)
);

COMMENT ON TABLE usage_summary IS
    'Distinct users and running time of a closed day by Hub alone, and by Hub and one thing more. '
    'Does not count for what is in usage_due.';
COMMENT ON TABLE usage_due IS 'Closed days whose summary is not yet what usage_days says.';

CREATE FUNCTION usage_follow_days() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_months AS kept (
        month, account_id, description_id, running_microseconds, starts, failures,
        waiting_microseconds, active_microseconds, active_known)
    SELECT
        date_trunc('month', day::timestamp)::date,
        account_id,
        description_id,
        sum(running_microseconds * sign),
        sum(starts * sign),
        sum(failures * sign),
        sum(waiting_microseconds * sign),
        coalesce(sum(active_microseconds * sign), 0),
        count(active_microseconds) * min(sign)
    FROM changed_rows
    JOIN servers ON servers.id = server_id
    CROSS JOIN (SELECT CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END AS sign) AS direction
    GROUP BY 1, account_id, description_id
    ORDER BY 1, account_id, description_id
    ON CONFLICT (month, account_id, description_id) DO UPDATE SET
        running_microseconds = kept.running_microseconds + excluded.running_microseconds,
        starts = kept.starts + excluded.starts,
        failures = kept.failures + excluded.failures,
        waiting_microseconds = kept.waiting_microseconds + excluded.waiting_microseconds,
        active_microseconds = kept.active_microseconds + excluded.active_microseconds,
        active_known = kept.active_known + excluded.active_known;
    INSERT INTO usage_due
    SELECT day, dimension
    FROM (SELECT DISTINCT day FROM changed_rows) AS days
    CROSS JOIN unnest('{hub,node,image,profile,gpus}'::text[]) AS dimensions (dimension)
    ORDER BY day, dimension
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

CREATE TRIGGER follow_insert AFTER INSERT ON usage_days
    REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION usage_follow_days();
CREATE TRIGGER follow_delete AFTER DELETE ON usage_days
    REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION usage_follow_days();

CREATE FUNCTION usage_summary_of(summed_day date, by_dimension text) RETURNS SETOF usage_summary
    LANGUAGE sql STABLE AS $$
    WITH served AS MATERIALIZED (
        SELECT
            servers.hub,
            servers.username,
            CASE by_dimension
                WHEN 'node' THEN node.word
                WHEN 'image' THEN descriptions.image
                WHEN 'profile' THEN descriptions.profile
                WHEN 'gpus' THEN descriptions.gpus::text
            END AS value,
            usage.hours
        FROM usage_days AS usage
        JOIN servers ON servers.id = usage.server_id
        JOIN descriptions ON descriptions.id = usage.description_id
        LEFT JOIN words AS node ON node.id = usage.node_id
        WHERE usage.day = summed_day AND usage.running_microseconds > 0
    ),
    -- a bit for each hour in which a user had a server, and one for the day
    by_user AS MATERIALIZED (
        SELECT hub, value, bit_or(present) | (1 << 24) AS present
        FROM served
        CROSS JOIN LATERAL (
            SELECT bit_or(1 << (amount & 31)::integer) AS present
            FROM unnest(hours) AS amount
            WHERE amount & 224 = 0
        ) AS mask
        GROUP BY hub, value, username
    ),
    by_hour AS (
        SELECT hub, value, hour, sum(users) AS users, sum(running) AS running
        FROM (
            SELECT
                hub, value, hour, count(*) FILTER (WHERE present & (1 << hour) <> 0) AS users,
                0 AS running
            FROM by_user
            CROSS JOIN generate_series(0, 24) AS hour
            GROUP BY hub, value, hour
            UNION ALL
            SELECT hub, value, amount & 31, 0, sum(amount >> 8)
            FROM served
            CROSS JOIN LATERAL unnest(hours) AS amount
            WHERE amount & 224 = 0
            GROUP BY hub, value, amount & 31
        ) AS parts
        GROUP BY hub, value, hour
    )
    SELECT
        summed_day,
        hub,
        by_dimension,
        value,
        (max(users) FILTER (WHERE hour = 24))::integer,
        sum(running)::bigint,
        array_agg(users::integer ORDER BY hour) FILTER (WHERE hour < 24),
        array_agg(running::bigint ORDER BY hour) FILTER (WHERE hour < 24)
    FROM by_hour
    GROUP BY hub, value
$$;

COMMENT ON FUNCTION usage_summary_of IS 'What usage_summary must have for a closed day.';

CREATE FUNCTION usage_summarise() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    due usage_due;
BEGIN
    -- who changes a day meanwhile waits, and makes it due again
    PERFORM pg_advisory_xact_lock(7236280, 3);
    DELETE FROM usage_due
    WHERE (day, dimension) = (
        SELECT day, dimension FROM usage_due ORDER BY day DESC, dimension LIMIT 1)
    RETURNING * INTO due;
    IF due.day IS NULL THEN
        RETURN false;
    END IF;
    DELETE FROM usage_summary WHERE day = due.day AND dimension = due.dimension;
    INSERT INTO usage_summary SELECT * FROM usage_summary_of(due.day, due.dimension);
    RETURN true;
END
$$;

COMMENT ON FUNCTION usage_summarise IS
    'Summarises the latest day that is due, by one dimension; false when none is.';
