-- What dashboards ask, of fewer steps. Panels over time: summaries are added up as arrays, and only
-- what is drawn is counted.

-- Where summaries say all: whole buckets of hours or days that are closed, and not due.
CREATE FUNCTION usage_summarised(
    since timestamptz, until timestamptz, bounds timestamptz[], step interval, by_dimension text
) RETURNS tstzmultirange LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT tstzmultirange(tstzrange(first_whole, greatest(first_whole, last_whole)))
            - coalesce((
                SELECT range_agg(tstzrange(usage_midnight(due.day), usage_midnight(due.day + 1)))
                FROM usage_due AS due
                WHERE due.dimension = by_dimension), '{}')
        FROM usage_closed
        CROSS JOIN (
            SELECT CASE step WHEN interval '1 hour' THEN 'hour' WHEN interval '1 day' THEN 'day' END
                AS unit
        ) AS known
        CROSS JOIN LATERAL (
            SELECT
                CASE WHEN bounds[1] = since THEN since ELSE bounds[2] END AS first_whole,
                least(
                    CASE WHEN date_trunc(unit, until, 'UTC') = until THEN until
                        ELSE bounds[cardinality(bounds)] END,
                    usage_midnight(before)) AS last_whole
        ) AS whole
        WHERE unit IS NOT NULL AND first_whole < last_whole
            -- in a zone that is not whole hours, or days, from UTC, none
            AND NOT EXISTS (
                SELECT FROM unnest(bounds) AS moment
                WHERE moment <> date_trunc(unit, moment, 'UTC'))
    ), '{}')
$$;

COMMENT ON FUNCTION usage_summarised IS
    'The stretches of [since, until), which is over, that usage_summary tells of in whole buckets.';

DROP FUNCTION usage_sweep;

-- Counting up and down over starts and ends: what it costs is the number of sessions, not of the
-- buckets that each of them covers. By numbers for as long as possible: names are long to compare.
-- moments are the beginnings of buckets in order, the first at or before since; clocks the same by
-- usage_clock, the first not before since, and the end of the last; [since, until) is whole buckets.
CREATE FUNCTION usage_sweep(
    since timestamptz, until timestamptz, moments timestamptz[], clocks bigint[],
    widths double precision[], by_dimension text, added_up_of text[] DEFAULT NULL
) RETURNS TABLE (
    bucket timestamptz, hub text, value text, users bigint, seconds double precision,
    servers double precision)
    LANGUAGE sql STABLE AS $$
    WITH RECURSIVE every_hub AS (
        -- one look into an index for each
        (SELECT servers.hub FROM servers ORDER BY servers.hub LIMIT 1)
        UNION ALL
        SELECT (
            SELECT servers.hub FROM servers WHERE servers.hub > before.hub
            ORDER BY servers.hub LIMIT 1)
        FROM every_hub AS before
        WHERE before.hub IS NOT NULL
    ),
    hubs AS MATERIALIZED (
        SELECT
            every_hub.hub,
            CASE WHEN added_up_of IS NULL OR by_dimension = 'hub'
                THEN row_number() OVER () << 32 ELSE 0 END AS hub_key
        FROM every_hub
        WHERE every_hub.hub IS NOT NULL
            AND (added_up_of IS NULL OR every_hub.hub = ANY (added_up_of))
    ),
    -- selected, an array is as width_bucket wants it; as a variable it would be copied each time
    found AS (
        SELECT
            server_id, thing_id, begins, ends,
            width_bucket(begins, (SELECT clocks)) AS first_bucket,
            width_bucket(ends - 1, (SELECT clocks)) AS last_bucket
        FROM (
            SELECT
                server_id,
                CASE by_dimension WHEN 'hub' THEN 0 WHEN 'node' THEN node_id ELSE description_id END
                    AS thing_id,
                usage_clock(greatest(started_at, since)) AS begins,
                usage_clock(least(ended_at, until)) AS ends
            FROM sessions_overlapping(since, until)
            WHERE state IN ('running', 'ended')
            OFFSET 0
        ) AS clipped
        WHERE begins < ends
    ),
    names AS MATERIALIZED (
        SELECT id::bigint AS id, word AS value FROM words WHERE by_dimension = 'node'
        UNION ALL
        SELECT id, CASE by_dimension
            WHEN 'image' THEN image WHEN 'image_base' THEN image_base(image)
            WHEN 'profile' THEN profile WHEN 'gpus' THEN gpus::text END
        FROM descriptions
        WHERE by_dimension NOT IN ('hub', 'node')
    ),
    -- descriptions that say the same of the dimension are one
    things AS MATERIALIZED (
        SELECT id, min(id) OVER (PARTITION BY value) AS first_id
        FROM names
        WHERE by_dimension NOT IN ('hub', 'node')
    ),
    served AS (
        SELECT
            hub_key + coalesce(
                CASE WHEN by_dimension IN ('hub', 'node') THEN thing_id ELSE first_id END, 0)
                AS thing_key,
            account_id, begins, ends, first_bucket, last_bucket
        FROM found
        JOIN servers ON servers.id = found.server_id
        JOIN hubs ON hubs.hub = servers.hub
        LEFT JOIN things ON things.id = found.thing_id
    ),
    -- a user with several servers in a bucket is one: counted from the first bucket that none of
    -- those that began before reaches
    counted AS MATERIALIZED (
        SELECT
            *,
            greatest(first_bucket, 1 + max(last_bucket) OVER (
                PARTITION BY account_id, thing_key ORDER BY first_bucket
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS new_bucket
        FROM served
    ),
    -- Up where one begins, down where one ends; who leaves was still there in that bucket. Numbers
    -- in doubles, which are quicker to add up and exact up to 285 years of microseconds.
    turns AS (
        SELECT
            thing_key, first_bucket AS bucket, 1::double precision AS servers,
            (clocks[first_bucket + 1] - begins)::double precision AS running,
            (new_bucket = first_bucket)::integer::double precision AS users,
            0::double precision AS leaving
        FROM counted
        UNION ALL
        SELECT
            thing_key, last_bucket, -1, ends - clocks[last_bucket + 1],
            -(new_bucket <= last_bucket)::integer, (new_bucket <= last_bucket)::integer
        FROM counted
        UNION ALL
        SELECT thing_key, new_bucket, 0, 0, 1, 0
        FROM counted
        WHERE new_bucket > first_bucket AND new_bucket <= last_bucket
        UNION ALL
        SELECT DISTINCT thing_key, width_bucket(usage_clock(since), clocks), 0, 0, 0, 0
        FROM counted
        WHERE added_up_of IS NOT NULL
    ),
    steps AS (
        SELECT
            thing_key,
            turns.bucket,
            sum(turns.running) AS running,
            sum(turns.servers) AS change,
            sum(turns.leaving) AS leaving,
            sum(sum(turns.users)) OVER along AS users,
            sum(sum(turns.servers)) OVER along AS servers,
            coalesce(
                lead(turns.bucket) OVER along, width_bucket(usage_clock(until) - 1, clocks) + 1)
                AS next_bucket
        FROM turns
        GROUP BY thing_key, turns.bucket
        WINDOW along AS (PARTITION BY thing_key ORDER BY turns.bucket)
    )
    SELECT
        moments[filled],
        named.hub,
        CASE WHEN added_up_of IS NOT NULL AND by_dimension = 'hub' THEN named.hub
            ELSE named.value END,
        CASE WHEN filled = named.bucket THEN named.users + leaving ELSE named.users END::bigint,
        CASE WHEN filled = named.bucket
            THEN (named.servers - change) * widths[filled] + running
            ELSE named.servers * widths[filled] END / 1000000,
        CASE WHEN filled = named.bucket
            THEN named.servers - change + running / widths[filled]
            ELSE named.servers END
    FROM (
        SELECT
            hubs.hub, names.value, steps.users, leaving, steps.servers, change, running,
            steps.bucket,
            generate_series(
                steps.bucket,
                CASE WHEN steps.users > 0 OR added_up_of IS NOT NULL THEN next_bucket - 1
                    ELSE steps.bucket END) AS filled
        FROM steps
        LEFT JOIN hubs ON hubs.hub_key = thing_key & -4294967296 AND hubs.hub_key > 0
        LEFT JOIN names ON names.id = thing_key & 4294967295
    ) AS named
$$;

COMMENT ON FUNCTION usage_sweep IS
    'Distinct users, seconds and average servers of each bucket, from sessions, in no order. Where '
    'added_up_of tells Hubs, of all of these together, buckets with nobody too.';

-- In plpgsql, so that they are planned once.
CREATE FUNCTION usage_clocks(
    since timestamptz, until timestamptz, bounds timestamptz[],
    OUT clocks bigint[], OUT widths double precision[]
) LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    clocks := ARRAY(
        SELECT usage_clock(greatest(moment, since)) FROM unnest(bounds || until) AS moment);
    widths := ARRAY(
        SELECT clocks[place + 1] - clocks[place]
        FROM generate_series(1, cardinality(bounds)) AS place);
END
$$;

COMMENT ON FUNCTION usage_clocks IS
    'usage_clock of each bound within [since, until) and of until, and how long each bucket is.';

-- Planned once: with the bounds in the plan, planning takes longer than counting. The memory is
-- what the planner thinks that it takes: with less it would sort and count in files.
CREATE OR REPLACE FUNCTION usage_over_time(
    since timestamptz, until timestamptz, step interval, by_dimension text DEFAULT 'hub',
    zone text DEFAULT 'UTC'
) RETURNS TABLE (
    bucket timestamptz, hub text, value text, users bigint, seconds double precision,
    servers double precision)
    LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET work_mem = '64MB' AS $$
DECLARE
    bounds timestamptz[];
    clocks bigint[];
    widths double precision[];
    midnight timestamptz;
    hours timestamptz[];
    ends timestamptz := least(until, now());
    summarised tstzmultirange;
    stretch tstzrange;
BEGIN
    IF since >= ends THEN
        RETURN;
    END IF;
    bounds := usage_bounds(since, ends, step, zone);
    summarised := usage_summarised(since, ends, bounds, step, by_dimension);
    FOR stretch IN
        SELECT one
        FROM (
            SELECT unnest(summarised) AS one
            UNION ALL
            SELECT unnest(tstzmultirange(tstzrange(since, ends)) - summarised)
        ) AS stretches
        ORDER BY one
    LOOP
        IF NOT stretch <@ summarised THEN
            IF clocks IS NULL THEN
                SELECT * INTO clocks, widths FROM usage_clocks(since, ends, bounds);
            END IF;
            RETURN QUERY
            SELECT *
            FROM usage_sweep(lower(stretch), upper(stretch), bounds, clocks, widths, by_dimension)
            ORDER BY 1;
        ELSIF step = interval '1 day' THEN
            RETURN QUERY
            SELECT
                usage_midnight(summary.day), summary.hub, summary.value, summary.users::bigint,
                summary.running_microseconds / 1000000.0::double precision,
                summary.running_microseconds / 86400000000.0::double precision
            FROM usage_summary AS summary
            WHERE summary.day >= usage_day(lower(stretch))
                AND summary.day < usage_day(upper(stretch))
                AND summary.dimension = by_dimension
            ORDER BY 1;
        ELSE
            -- day by day, so that few rows are put in order at a time
            FOR midnight IN
                SELECT generate_series(
                    date_trunc('day', lower(stretch), 'UTC'),
                    upper(stretch) - interval '1 microsecond', interval '24 hours')
            LOOP
                -- NULL for hours that are not asked for
                hours := ARRAY(
                    SELECT CASE WHEN stretch @> begins THEN begins END
                    FROM generate_series(
                        midnight, midnight + interval '23 hours', interval '1 hour') AS begins
                    ORDER BY begins);
                RETURN QUERY
                SELECT
                    one.moment, one.hub, one.value, one.users::bigint, one.running / 1000000,
                    one.running / 3600000000
                FROM (
                    SELECT
                        summary.hub, summary.value, unnest(hours) AS moment,
                        unnest(summary.hour_users) AS users,
                        unnest(summary.hour_microseconds)::double precision AS running
                    FROM usage_summary AS summary
                    WHERE summary.day = usage_day(midnight) AND summary.dimension = by_dimension
                ) AS one
                WHERE one.users > 0 AND one.moment IS NOT NULL
                ORDER BY 1;
            END LOOP;
        END IF;
    END LOOP;
END
$$;

CREATE FUNCTION panel_summaries(
    first_day date, last_day date, step interval, by_dimension text, hubs text[]
) RETURNS TABLE (
    day date, label text, users double precision[], running double precision[])
    LANGUAGE plpgsql STABLE ROWS 1000 AS $$
DECLARE
    kept_as text := CASE by_dimension WHEN 'image_base' THEN 'image' ELSE by_dimension END;
BEGIN
    IF step = interval '1 day' THEN
        RETURN QUERY
        WITH bases AS MATERIALIZED (
            SELECT DISTINCT image, image_base(image) AS base
            FROM descriptions
            WHERE by_dimension = 'image_base'
        )
        SELECT
            summary.day,
            CASE by_dimension WHEN 'hub' THEN summary.hub WHEN 'image_base' THEN bases.base
                ELSE summary.value END,
            ARRAY[sum(summary.users::double precision)],
            ARRAY[sum(running_microseconds::double precision)]
        FROM usage_summary AS summary
        LEFT JOIN bases ON bases.image = summary.value
        WHERE summary.day >= first_day AND summary.day <= last_day
            AND summary.dimension = kept_as AND summary.hub = ANY (hubs)
        GROUP BY 1, 2;
        RETURN;
    END IF;
    -- a sum for each hour is far cheaper than a row for each hour
    RETURN QUERY
    WITH bases AS MATERIALIZED (
        SELECT DISTINCT image, image_base(image) AS base
        FROM descriptions
        WHERE by_dimension = 'image_base'
    )
    SELECT
        kept.day, kept.label,
        ARRAY[
            sum(n[1]), sum(n[2]), sum(n[3]), sum(n[4]), sum(n[5]), sum(n[6]), sum(n[7]), sum(n[8]),
            sum(n[9]), sum(n[10]), sum(n[11]), sum(n[12]), sum(n[13]), sum(n[14]), sum(n[15]),
            sum(n[16]), sum(n[17]), sum(n[18]), sum(n[19]), sum(n[20]), sum(n[21]), sum(n[22]),
            sum(n[23]), sum(n[24])],
        ARRAY[
            sum(m[1]), sum(m[2]), sum(m[3]), sum(m[4]), sum(m[5]), sum(m[6]), sum(m[7]), sum(m[8]),
            sum(m[9]), sum(m[10]), sum(m[11]), sum(m[12]), sum(m[13]), sum(m[14]), sum(m[15]),
            sum(m[16]), sum(m[17]), sum(m[18]), sum(m[19]), sum(m[20]), sum(m[21]), sum(m[22]),
            sum(m[23]), sum(m[24])]
    FROM (
        SELECT
            summary.day,
            CASE by_dimension WHEN 'hub' THEN summary.hub WHEN 'image_base' THEN bases.base
                ELSE summary.value END AS label,
            hour_users::double precision[] AS n, hour_microseconds::double precision[] AS m
        FROM usage_summary AS summary
        LEFT JOIN bases ON bases.image = summary.value
        WHERE summary.day >= first_day AND summary.day <= last_day
            AND summary.dimension = kept_as AND summary.hub = ANY (hubs)
        OFFSET 0
    ) AS kept
    GROUP BY kept.day, kept.label;
END
$$;

COMMENT ON FUNCTION panel_summaries IS
    'Users and microseconds of the days from the first to the last, of the day or of each hour, '
    'added up over Hubs. Of image_base, a user of two versions at once is two users.';

-- A function of its own, so that the planner expects few: none where all is summarised.
CREATE FUNCTION panel_swept(
    rests tstzmultirange, bounds timestamptz[], clocks bigint[], widths double precision[],
    by_dimension text, hubs text[]
) RETURNS TABLE (
    bucket timestamptz, value text, users bigint, seconds double precision,
    servers double precision)
    LANGUAGE plpgsql STABLE ROWS 1000 AS $$
DECLARE
    rest tstzrange;
BEGIN
    FOR rest IN SELECT unnest(rests) LOOP
        RETURN QUERY
        SELECT swept.bucket, swept.value, swept.users, swept.seconds, swept.servers
        FROM usage_sweep(
            lower(rest), upper(rest), bounds, clocks, widths, by_dimension, hubs) AS swept;
    END LOOP;
END
$$;

COMMENT ON FUNCTION panel_swept IS 'usage_sweep of Hubs together, stretch by stretch.';

-- usage_over_time with its empty buckets: without them a line would cross a night as if it had
-- been busy. by_dimension is one of its own, or image_base.
CREATE OR REPLACE FUNCTION panel_over_time(
    since timestamptz, until timestamptz, by_dimension text, hubs text[]
) RETURNS TABLE (
    moment timestamptz, value text, users bigint, servers double precision,
    hours double precision)
    LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET work_mem = '64MB' AS $$
DECLARE
    step interval := panel_step(since, until);
    ends timestamptz := least(until, now());
    bounds timestamptz[];
    clocks bigint[];
    widths double precision[];
    summarised tstzmultirange;
BEGIN
    IF since >= ends THEN
        RETURN;
    END IF;
    bounds := usage_bounds(since, ends, step, 'UTC');
    SELECT * INTO clocks, widths FROM usage_clocks(since, ends, bounds);
    summarised := usage_summarised(
        since, ends, bounds, step,
        CASE by_dimension WHEN 'image_base' THEN 'image' ELSE by_dimension END);
    IF isempty(summarised) THEN
        RETURN QUERY
        SELECT
            greatest(swept.bucket, since), swept.value, swept.users, swept.servers,
            swept.seconds / 3600
        FROM usage_sweep(since, ends, bounds, clocks, widths, by_dimension, hubs) AS swept;
        RETURN;
    END IF;
    RETURN QUERY
    WITH swept AS MATERIALIZED (
        SELECT * FROM panel_swept(
            tstzmultirange(tstzrange(since, ends)) - summarised, bounds, clocks, widths,
            by_dimension, hubs)
    ),
    buckets AS MATERIALIZED (
        SELECT
            begins, clocks_place, begins <@ summarised AS kept, usage_day(begins) AS day,
            CASE step WHEN interval '1 day' THEN 1
                ELSE extract(hour FROM begins AT TIME ZONE 'UTC')::integer + 1 END AS place
        FROM unnest(bounds) WITH ORDINALITY AS bounds (begins, clocks_place)
    ),
    days AS MATERIALIZED (
        SELECT buckets.day, min(place) AS first_place, max(place) AS last_place
        FROM buckets
        WHERE kept
        GROUP BY buckets.day
    ),
    -- what was there in an hour that is asked for
    summed AS MATERIALIZED (
        SELECT summaries.*
        FROM panel_summaries(
            (SELECT min(days.day) FROM days), (SELECT max(days.day) FROM days), step,
            by_dimension, hubs) AS summaries
        JOIN days ON days.day = summaries.day
        WHERE cardinality(summaries.users) = last_place - first_place + 1
            OR EXISTS (
                SELECT FROM unnest(summaries.users[first_place:last_place]) AS present
                WHERE present > 0)
    ),
    labels AS MATERIALIZED (
        SELECT summed.label FROM summed
        UNION
        SELECT swept.value FROM swept
    ),
    filled AS (
        SELECT days.day, labels.label, summed.users, summed.running
        FROM days
        CROSS JOIN labels
        LEFT JOIN summed ON summed.day = days.day
            AND coalesce(summed.label, '') = coalesce(labels.label, '')
    )
    SELECT
        begins, filled.label, coalesce(filled.users[place], 0)::bigint,
        coalesce(filled.running[place], 0) / widths[clocks_place],
        coalesce(filled.running[place], 0) / 3600000000
    FROM buckets
    JOIN filled ON filled.day = buckets.day
    WHERE kept
    UNION ALL
    SELECT
        greatest(begins, since), labels.label, coalesce(swept.users, 0),
        coalesce(swept.servers, 0), coalesce(swept.seconds, 0) / 3600
    FROM buckets
    CROSS JOIN labels
    LEFT JOIN swept ON swept.bucket = begins
        AND coalesce(swept.value, '') = coalesce(labels.label, '')
    WHERE NOT kept;
END
$$;

COMMENT ON FUNCTION panel_over_time IS
    'Users, average running servers and hours, of each value in each bucket of panel_step, zeros '
    'too. Of image_base, a user of two versions in a bucket may be two users.';

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

-- The names of sampled metrics: what the planner has to know to read them by the shorter way.

-- Without it, it thinks that most spans repeat, and looks up the polls of each again and again.
CREATE STATISTICS observation_spans_distinct (ndistinct)
    ON block, first_poll, last_poll FROM observation_spans;

-- Each table joined by itself: of a union the planner does not know how many servers it has, and
-- expects a dozen times as many sessions as there are. Conditions on any column reach the tables.
CREATE OR REPLACE VIEW session_runs AS
SELECT
    ended.server_id, ended.description_id, ended.request_id, ended.node_id, ended.state,
    ended.started_at, ended.ended_at AS counted_until, owned.user_email, owned.hub, owned.username
FROM ended_sessions AS ended
JOIN session_owners AS owned ON owned.server_id = ended.server_id
UNION ALL
SELECT
    open.server_id, open.description_id, open.request_id, open.node_id, open.state,
    open.started_at, greatest(open.started_at, now() - interval '1 minute'), owned.user_email,
    owned.hub, owned.username
FROM open_sessions AS open
JOIN session_owners AS owned ON owned.server_id = open.server_id;

COMMENT ON VIEW session_runs IS
    'Sessions and whose they are; those that are open as if they had ended a minute ago.';

CREATE OR REPLACE VIEW user_sessions AS
SELECT
    session_runs.user_email,
    requests.pod_name,
    node.word AS node_name,
    width_bucket(session_runs.started_at, same_pod.starts)::bigint AS session_id,
    session_runs.started_at AS session_start,
    session_runs.counted_until AS session_end,
    extract(epoch FROM session_runs.counted_until - session_runs.started_at) / 3600.0
        AS runtime_hours,
    container_kinds.container_base,
    container_kinds.container_version,
    session_runs.hub,
    session_runs.username,
    coalesce(container_kinds.gpu_requested, node_is_named_for_gpus(node.word)) AS on_gpu
FROM session_runs
LEFT JOIN container_kinds ON container_kinds.description_id = session_runs.description_id
LEFT JOIN requests ON requests.id = session_runs.request_id
LEFT JOIN words AS node ON node.id = session_runs.node_id
-- once for each server, pod and node, and only for those who ask for session_id
LEFT JOIN LATERAL (
    SELECT array_agg(earlier.started_at ORDER BY earlier.started_at) AS starts
    FROM session_rows AS earlier
    JOIN requests AS asked ON asked.id = earlier.request_id
    WHERE earlier.server_id = session_runs.server_id
        AND earlier.node_id IS NOT DISTINCT FROM session_runs.node_id
        AND asked.pod_name IS NOT DISTINCT FROM requests.pod_name
        AND earlier.state IN ('running', 'ended')
) AS same_pod ON true
WHERE session_runs.state IN ('running', 'ended');

CREATE OR REPLACE VIEW user_session_stats AS
SELECT
    run.user_email,
    extract(epoch FROM sum(run.counted_until - run.started_at)) / 3600.0 AS total_hours,
    coalesce(extract(epoch FROM sum(run.counted_until - run.started_at) FILTER (
        WHERE coalesce(gpu_requested, node_is_named_for_gpus(node.word)))) / 3600.0, 0)
        AS gpu_hours,
    coalesce(extract(epoch FROM sum(run.counted_until - run.started_at) FILTER (
        WHERE NOT coalesce(gpu_requested, node_is_named_for_gpus(node.word)))) / 3600.0, 0)
        AS cpu_hours,
    count(*) AS total_sessions,
    count(DISTINCT container_kinds.container_base) AS applications_used,
    min(run.started_at) AS first_session,
    max(run.counted_until) AS last_session,
    run.hub
FROM session_runs AS run
JOIN container_kinds ON container_kinds.description_id = run.description_id
LEFT JOIN words AS node ON node.id = run.node_id
WHERE run.state IN ('running', 'ended')
GROUP BY run.hub, run.user_email;

-- One look into an index for each server and bound, where the first has an answer.
CREATE OR REPLACE VIEW users AS
SELECT
    known.email,
    known.username AS user_id,
    known.full_name,
    known.department,
    known.job_title,
    seen.first_seen,
    seen.last_seen,
    known.hub,
    known.username,
    coalesce(known.email, known.username) AS user_email
FROM people_history AS known
LEFT JOIN LATERAL (
    SELECT
        min(coalesce(
            (SELECT min(started_at) FROM ended_sessions WHERE server_id = servers.id),
            (SELECT min(started_at) FROM open_sessions WHERE server_id = servers.id)))
            AS first_seen,
        max(coalesce(
            (SELECT now() FROM open_sessions WHERE server_id = servers.id LIMIT 1),
            (SELECT ended_at FROM ended_sessions
                WHERE server_id = servers.id ORDER BY started_at DESC LIMIT 1))) AS last_seen
    FROM servers
    WHERE servers.hub = known.hub AND servers.username = known.username
) AS seen ON true
WHERE known.valid_to IS NULL
UNION ALL
SELECT NULL, username, NULL, NULL, NULL, min(first_at), max(last_at), hub, username, username
FROM server_spans
WHERE NOT EXISTS (
    SELECT FROM people_history AS known
    WHERE known.hub = server_spans.hub
        AND known.username = server_spans.username
        AND known.valid_to IS NULL)
GROUP BY hub, username;
