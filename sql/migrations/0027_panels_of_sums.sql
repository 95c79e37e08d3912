-- Panels of sums: by month where most of one is asked for, names last.

-- Of a month of which most days are asked for, the other days are taken off again. Six days have
-- about as many rows as their month. Pages are read whole: by an index, row by row takes longer.
CREATE FUNCTION usage_sums(since timestamptz, until timestamptz, by_image boolean)
    RETURNS TABLE (
        account_id integer, image_id integer, running double precision, starts bigint)
    LANGUAGE plpgsql STABLE ROWS 10000
    SET plan_cache_mode = force_generic_plan SET work_mem = '64MB' SET enable_indexscan = off
    AS $$
DECLARE
    ends timestamptz := least(until, now());
    first_day date := usage_day(since + interval '24 hours' - interval '1 microsecond');
    last_day date;
    closed_before date;
    first_month date;
    last_month date;
    signs integer[];
    first_days date[];
    last_days date[];
BEGIN
    IF since >= ends THEN
        RETURN;
    END IF;
    SELECT before INTO closed_before FROM usage_closed;
    IF first_day = '-infinity' THEN
        SELECT coalesce(min(month), usage_day(now())) INTO first_day FROM usage_months;
    END IF;
    last_day := greatest(first_day, least(usage_day(ends), closed_before));
    WITH months AS (
        SELECT
            *,
            (known_to - known_from) - (asked_to - asked_from) + 6 < asked_to - asked_from
                AS is_whole
        FROM (
            SELECT
                month::date AS known_from,
                least((month + interval '1 month')::date, closed_before) AS known_to,
                greatest(month::date, first_day) AS asked_from,
                least((month + interval '1 month')::date, last_day) AS asked_to
            FROM generate_series(
                date_trunc('month', first_day::timestamp), last_day::timestamp,
                interval '1 month') AS month
        ) AS spans
        WHERE asked_from < asked_to
    )
    SELECT
        min(begins) FILTER (WHERE sign = 0), max(begins) FILTER (WHERE sign = 0),
        array_agg(sign) FILTER (WHERE sign <> 0), array_agg(begins) FILTER (WHERE sign <> 0),
        array_agg(before) FILTER (WHERE sign <> 0)
    INTO first_month, last_month, signs, first_days, last_days
    FROM (
        SELECT 0 AS sign, known_from AS begins, known_to AS before FROM months WHERE is_whole
        UNION ALL
        SELECT 1, asked_from, asked_to FROM months WHERE NOT is_whole
        UNION ALL
        SELECT -1, known_from, asked_from FROM months WHERE is_whole
        UNION ALL
        SELECT -1, asked_to, known_to FROM months WHERE is_whole
    ) AS pieces
    WHERE begins < before;

    IF by_image THEN
        RETURN QUERY
        SELECT
            kept.account_id, descriptions.image_id,
            -- whole microseconds of 285 years are exact in a double, and quicker to add up
            sum(kept.running_microseconds::double precision), sum(kept.starts)
        FROM usage_months AS kept
        JOIN descriptions ON descriptions.id = kept.description_id
        WHERE month >= first_month AND month <= last_month
        GROUP BY kept.account_id, descriptions.image_id;
    ELSE
        RETURN QUERY
        SELECT
            kept.account_id, NULL::integer, sum(kept.running_microseconds::double precision),
            sum(kept.starts)
        FROM usage_months AS kept
        WHERE month >= first_month AND month <= last_month
        GROUP BY kept.account_id;
    END IF;

    RETURN QUERY
    SELECT servers.account_id, descriptions.image_id, part.running, part.starts
    FROM (
        SELECT of_days.*
        FROM unnest(signs, first_days, last_days) AS piece (sign, begins, before)
        CROSS JOIN LATERAL (
            SELECT
                server_id, description_id,
                piece.sign * sum(running_microseconds::double precision) AS running,
                piece.sign * sum(usage_days.starts) AS starts
            FROM usage_days
            WHERE day >= piece.begins AND day < piece.before
            GROUP BY server_id, description_id
        ) AS of_days
        UNION ALL
        SELECT
            session.server_id, session.description_id, sum(cut.running::double precision),
            sum(cut.starts)
        FROM unnest(
            tstzmultirange(tstzrange(since, ends))
            - tstzmultirange(tstzrange(usage_midnight(first_day), usage_midnight(last_day)))
        ) AS rest
        CROSS JOIN LATERAL sessions_overlapping(lower(rest), upper(rest)) AS session
        CROSS JOIN LATERAL usage_within(session, lower(rest), upper(rest)) AS cut
        GROUP BY session.server_id, session.description_id
    ) AS part
    JOIN servers ON servers.id = part.server_id
    JOIN descriptions ON descriptions.id = part.description_id;
END
$$;

COMMENT ON FUNCTION usage_sums IS
    'Microseconds and starts in [since, until), at most until now, in parts to add up, some of '
    'them negative, by user (the id of the first server) and image. image_id means nothing unless '
    'by_image.';

CREATE OR REPLACE FUNCTION top_users(
    since timestamptz, until timestamptz, at_most integer DEFAULT 100
) RETURNS TABLE (hub text, username text, hours double precision, starts bigint)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    SELECT
        servers.hub, servers.username,
        total.running / 3600000000 AS hours,
        total.starts
    FROM (
        SELECT account_id, sum(running) AS running, sum(starts)::bigint AS starts
        FROM usage_sums(since, until, false)
        GROUP BY account_id
        HAVING sum(running) > 0
    ) AS total
    JOIN servers ON servers.id = total.account_id
    ORDER BY hours DESC, servers.hub, servers.username
    LIMIT at_most
$$;

-- The memory is what a year of many users needs to be added up without a file.
CREATE OR REPLACE FUNCTION image_table(since timestamptz, until timestamptz)
    RETURNS TABLE (
        hub text, image text, users bigint, hours double precision, starts bigint)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    SELECT by_image.hub, descriptions.image, by_image.users, by_image.hours, by_image.starts
    FROM (
        SELECT
            servers.hub,
            by_user.image_id,
            count(*) FILTER (WHERE by_user.running > 0) AS users,
            sum(by_user.running) / 3600000000 AS hours,
            sum(by_user.starts)::bigint AS starts
        FROM (
            SELECT account_id, image_id, sum(running) AS running, sum(starts) AS starts
            FROM usage_sums(since, until, true)
            GROUP BY account_id, image_id
            HAVING sum(running) > 0 OR sum(starts) > 0
        ) AS by_user
        JOIN servers ON servers.id = by_user.account_id
        GROUP BY servers.hub, by_user.image_id
    ) AS by_image
    JOIN descriptions ON descriptions.id = by_image.image_id
    ORDER BY by_image.hours DESC, by_image.hub, descriptions.image
$$;

-- What was known of people at the end of the range, as far as anything was.
CREATE OR REPLACE FUNCTION panel_usage_by_user(
    since timestamptz, until timestamptz, hubs text[], groups text[]
) RETURNS TABLE (
    hub text, username text, user_email text, full_name text, department text, job_title text,
    hours double precision, starts bigint)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    SELECT
        owned.hub, owned.username, coalesce(known.email, owned.username), known.full_name,
        known.department, known.job_title, total.running / 3600000000, total.starts
    FROM (
        SELECT account_id AS server_id, sum(running) AS running, sum(starts)::bigint AS starts
        FROM usage_sums(since, until, false)
        GROUP BY account_id
        HAVING sum(running) > 0 OR sum(starts) > 0
    ) AS total
    JOIN panel_servers(since, until, hubs, groups) AS owned USING (server_id)
    LEFT JOIN user_history AS known
        ON known.hub = owned.hub AND known.username = owned.username
        AND known.valid_from <= until AND (known.valid_to IS NULL OR known.valid_to > until)
$$;

-- Names late, and of those alone that are shown.
CREATE OR REPLACE FUNCTION panel_top_users(
    since timestamptz, until timestamptz, hubs text[], groups text[], at_most integer
) RETURNS TABLE (
    hub text, username text, user_email text, full_name text, department text,
    hours double precision, starts bigint, last_seen timestamptz)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    SELECT
        top.hub, top.username, coalesce(known.email, top.username), known.full_name,
        known.department, top.running / 3600000000, top.starts,
        (
            SELECT max(coalesce(
                (SELECT now() FROM open_sessions
                    WHERE open_sessions.server_id = servers.id LIMIT 1),
                (SELECT ended_at FROM ended_sessions
                    WHERE ended_sessions.server_id = servers.id
                    ORDER BY started_at DESC LIMIT 1)))
            FROM servers
            WHERE servers.hub = top.hub AND servers.username = top.username
        )
    FROM (
        SELECT owned.hub, owned.username, total.running, total.starts
        FROM (
            SELECT account_id AS server_id, sum(running) AS running, sum(starts)::bigint AS starts
            FROM usage_sums(since, until, false)
            GROUP BY account_id
            HAVING sum(running) > 0
        ) AS total
        JOIN panel_servers(since, until, hubs, groups) AS owned USING (server_id)
        ORDER BY total.running DESC, owned.hub, owned.username
        LIMIT at_most
    ) AS top
    LEFT JOIN user_history AS known
        ON known.hub = top.hub AND known.username = top.username
        AND known.valid_from <= until AND (known.valid_to IS NULL OR known.valid_to > until)
    ORDER BY top.running DESC, top.hub, top.username
$$;

CREATE OR REPLACE FUNCTION panel_usage_by_image(
    since timestamptz, until timestamptz, hubs text[], groups text[]
) RETURNS TABLE (
    image text, image_base text, image_version text, users bigint, hours double precision,
    starts bigint)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    SELECT
        named.image, kind.container_base, kind.container_version, by_image.users,
        by_image.running / 3600000000, by_image.starts
    FROM (
        SELECT
            used.image_id, count(*) FILTER (WHERE used.running > 0) AS users,
            sum(used.running) AS running, sum(used.starts)::bigint AS starts
        FROM (
            SELECT
                account_id AS server_id, image_id, sum(running) AS running, sum(starts) AS starts
            FROM usage_sums(since, until, true)
            GROUP BY account_id, image_id
        ) AS used
        JOIN panel_servers(since, until, hubs, groups) AS owned USING (server_id)
        GROUP BY used.image_id
        HAVING sum(used.running) > 0 OR sum(used.starts) > 0
    ) AS by_image
    JOIN descriptions AS named ON named.id = by_image.image_id
    JOIN container_kinds AS kind ON kind.description_id = by_image.image_id
    ORDER BY by_image.running DESC, named.image
$$;
