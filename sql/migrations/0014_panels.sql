-- What the Grafana dashboards ask beside usage: one function for each question, so that a panel
-- selects and does not join. hubs and groups are what the dashboard's variables hold; groups that
-- hold '*' mean everyone, also those who are in no group.

CREATE FUNCTION panel_step(since timestamptz, until timestamptz) RETURNS interval
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN until - since <= interval '36 hours' THEN interval '5 minutes'
        WHEN until - since <= interval '45 days' THEN interval '1 hour'
        ELSE interval '1 day'
    END
$$;

COMMENT ON FUNCTION panel_step IS 'The buckets in which a range of time is drawn.';

CREATE FUNCTION image_base(image text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT split_part(split_part(split_part(image, '@', 1), '/', -1), ':', 1)
$$;

COMMENT ON FUNCTION image_base IS
    'The last part of an image''s name: no registry, path, tag or digest.';

CREATE VIEW panel_hubs AS SELECT DISTINCT hub FROM servers;
CREATE VIEW panel_users AS SELECT DISTINCT hub, username FROM servers;
CREATE VIEW panel_groups AS SELECT DISTINCT hub, group_name FROM group_memberships;
CREATE VIEW panel_endings AS SELECT id AS ending_id, reason FROM circumstances;

COMMENT ON VIEW panel_hubs IS 'For the variable hub: every Hub that ever had a session.';
COMMENT ON VIEW panel_users IS 'For the variable user: everyone who ever had a session.';
COMMENT ON VIEW panel_groups IS 'For the variable group: every group that ever had a member.';
COMMENT ON VIEW panel_endings IS 'Why sessions ended, without who did it.';

-- Members at any moment of the range: a group says who is counted, not when.
CREATE FUNCTION panel_servers(
    since timestamptz, until timestamptz, hubs text[], groups text[]
) RETURNS TABLE (server_id integer, hub text, username text) LANGUAGE sql STABLE AS $$
    SELECT servers.id, servers.hub, servers.username
    FROM servers
    WHERE servers.hub = ANY (hubs)
        AND ('*' = ANY (groups) OR EXISTS (
            SELECT FROM group_memberships AS member
            WHERE member.hub = servers.hub
                AND member.username = servers.username
                AND member.group_name = ANY (groups)
                AND member.valid_from < until
                AND (member.valid_to IS NULL OR member.valid_to > since)))
$$;

COMMENT ON FUNCTION panel_servers IS 'Servers of the members of some groups.';

-- usage_over_time with its empty buckets: without them a line would cross a night as if it had
-- been busy. by_dimension is one of its own, or image_base.
CREATE FUNCTION panel_over_time(
    since timestamptz, until timestamptz, by_dimension text, hubs text[]
) RETURNS TABLE (
    moment timestamptz, value text, users bigint, servers double precision,
    hours double precision)
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    step interval := panel_step(since, until);
BEGIN
    IF since >= least(until, now()) THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH counted AS MATERIALIZED (
        SELECT
            found.bucket,
            CASE by_dimension
                WHEN 'hub' THEN found.hub
                WHEN 'image_base' THEN image_base(found.value)
                ELSE found.value
            END AS label,
            sum(found.users)::bigint AS users,
            sum(found.servers) AS servers,
            sum(found.seconds) AS seconds
        FROM usage_over_time(
            since, until, step, CASE by_dimension WHEN 'image_base' THEN 'image' ELSE by_dimension END
        ) AS found
        WHERE found.hub = ANY (hubs)
        GROUP BY 1, 2
    )
    SELECT
        greatest(begins, since), labels.label, coalesce(counted.users, 0),
        coalesce(counted.servers, 0), coalesce(counted.seconds, 0) / 3600
    FROM unnest(usage_bounds(since, least(until, now()), step, 'UTC')) AS begins
    CROSS JOIN (SELECT DISTINCT counted.label FROM counted) AS labels
    LEFT JOIN counted
        ON counted.bucket = begins AND coalesce(counted.label, '') = coalesce(labels.label, '')
    ORDER BY 1, 2;
END
$$;

COMMENT ON FUNCTION panel_over_time IS
    'Users, average running servers and hours, of each value in each bucket of panel_step, zeros '
    'too. Of image_base, a user of two versions at once is two users.';

-- What was known of people at the end of the range, as far as anything was.
CREATE FUNCTION panel_usage_by_user(
    since timestamptz, until timestamptz, hubs text[], groups text[]
) RETURNS TABLE (
    hub text, username text, user_email text, full_name text, department text, job_title text,
    hours double precision, starts bigint)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    SELECT
        owned.hub, owned.username, coalesce(known.email, owned.username), known.full_name,
        known.department, known.job_title,
        total.running / 3600000000.0::double precision, total.starts
    FROM (
        SELECT
            server_id, sum(running)::bigint AS running, sum(starts)::bigint AS starts
        FROM usage_totals(since, until)
        GROUP BY server_id
        HAVING sum(running) > 0 OR sum(starts) > 0
    ) AS total
    JOIN panel_servers(since, until, hubs, groups) AS owned USING (server_id)
    LEFT JOIN user_history AS known
        ON known.hub = owned.hub AND known.username = owned.username
        AND known.valid_from <= until AND (known.valid_to IS NULL OR known.valid_to > until)
$$;

COMMENT ON FUNCTION panel_usage_by_user IS
    'What each user ran in [since, until), and who that was, as known at its end.';

-- By user's number first: the sum over all that it ran is what costs.
CREATE FUNCTION panel_requested_by_user(
    since timestamptz, until timestamptz, hubs text[], groups text[]
) RETURNS TABLE (
    hub text, username text, department text, job_title text, hours double precision,
    hours_with_gpu double precision, hours_without_gpu double precision,
    gib_hours double precision, core_hours double precision, gpu_hours double precision)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    SELECT
        used.hub, used.username, known.department, known.job_title,
        used.running / 3600000000, used.running_with_gpu / 3600000000,
        (used.running - used.running_with_gpu) / 3600000000,
        used.gib / 3600000000, used.cores / 3600000000, used.gpus / 3600000000
    FROM (
        SELECT
            owned.hub, owned.username, sum(total.running) AS running,
            sum(total.running_with_gpu) AS running_with_gpu, sum(total.gib) AS gib,
            sum(total.cores) AS cores, sum(total.gpus) AS gpus
        FROM (
            -- whole microseconds of 285 years are exact in a double, and quicker to add up
            SELECT
                ran.server_id,
                sum(ran.running::double precision) AS running,
                coalesce(sum(ran.running::double precision) FILTER (WHERE gpus > 0), 0)
                    AS running_with_gpu,
                sum(ran.running * memory_gib) AS gib,
                sum(ran.running * cores) AS cores,
                sum(ran.running * gpus) AS gpus
            FROM usage_totals(since, until) AS ran
            JOIN usage_resources ON usage_resources.id = ran.description_id
            GROUP BY ran.server_id
        ) AS total
        JOIN panel_servers(since, until, hubs, groups) AS owned USING (server_id)
        GROUP BY owned.hub, owned.username
    ) AS used
    LEFT JOIN user_history AS known
        ON known.hub = used.hub AND known.username = used.username
        AND known.valid_from <= until AND (known.valid_to IS NULL OR known.valid_to > until)
$$;

COMMENT ON FUNCTION panel_requested_by_user IS
    'What each user ran in [since, until) times what was requested, and who that was at its end.';

CREATE FUNCTION panel_top_users(
    since timestamptz, until timestamptz, hubs text[], groups text[], at_most integer
) RETURNS TABLE (
    hub text, username text, user_email text, full_name text, department text,
    hours double precision, starts bigint, last_seen timestamptz)
    LANGUAGE sql STABLE AS $$
    SELECT
        top.hub, top.username, top.user_email, top.full_name, top.department, top.hours,
        top.starts, seen.last_at
    FROM (
        SELECT *
        FROM panel_usage_by_user(since, until, hubs, groups) AS used
        WHERE used.hours > 0
        ORDER BY used.hours DESC, used.hub, used.username
        LIMIT at_most
    ) AS top
    CROSS JOIN LATERAL (
        SELECT max(last_at) AS last_at
        FROM server_spans
        WHERE server_spans.hub = top.hub AND server_spans.username = top.username
    ) AS seen
    ORDER BY top.hours DESC, top.hub, top.username
$$;

COMMENT ON FUNCTION panel_top_users IS
    'Who ran servers longest in [since, until); last_seen is of all time.';

CREATE FUNCTION panel_usage_by_image(
    since timestamptz, until timestamptz, hubs text[], groups text[]
) RETURNS TABLE (
    image text, image_base text, image_version text, users bigint, hours double precision,
    starts bigint)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    WITH picture AS MATERIALIZED (
        SELECT
            descriptions.id AS description_id, descriptions.image, kind.container_base,
            kind.container_version, dense_rank() OVER (ORDER BY descriptions.image) AS place
        FROM descriptions
        JOIN container_kinds AS kind ON kind.description_id = descriptions.id
    ),
    owner AS MATERIALIZED (
        SELECT server_id, dense_rank() OVER (ORDER BY hub, username) AS person
        FROM panel_servers(since, until, hubs, groups)
    )
    SELECT
        named.image, named.container_base, named.container_version,
        count(*) FILTER (WHERE used.running > 0),
        sum(used.running) / 3600000000,
        sum(used.starts)::bigint
    FROM (
        -- whole microseconds of 285 years are exact in a double, and quicker to add up
        SELECT place, person, sum(running::double precision) AS running, sum(starts) AS starts
        FROM usage_totals(since, until) AS total
        JOIN picture USING (description_id)
        JOIN owner USING (server_id)
        GROUP BY place, person
    ) AS used
    JOIN (
        SELECT DISTINCT ON (place) place, image, container_base, container_version
        FROM picture
        ORDER BY place
    ) AS named USING (place)
    GROUP BY named.place, named.image, named.container_base, named.container_version
    HAVING sum(used.running) > 0 OR sum(used.starts) > 0
    ORDER BY sum(used.running) DESC, named.image
$$;

COMMENT ON FUNCTION panel_usage_by_image IS
    'Distinct users, hours and starts of each image in [since, until), longest first.';

CREATE FUNCTION panel_usage_by_department_and_image(
    since timestamptz, until timestamptz, hubs text[], groups text[]
) RETURNS TABLE (department text, image_base text, users bigint, hours double precision)
    LANGUAGE sql STABLE SET work_mem = '64MB' AS $$
    WITH base AS MATERIALIZED (
        SELECT description_id, container_base, dense_rank() OVER (ORDER BY container_base) AS place
        FROM container_kinds
    )
    SELECT
        known.department, named.container_base, count(*),
        sum(used.running)::bigint / 3600000000.0::double precision
    FROM (
        SELECT owned.hub, owned.username, total.place, sum(total.running) AS running
        FROM (
            SELECT server_id, place, sum(running)::bigint AS running
            FROM usage_totals(since, until)
            JOIN base USING (description_id)
            GROUP BY server_id, place
            HAVING sum(running) > 0
        ) AS total
        JOIN panel_servers(since, until, hubs, groups) AS owned USING (server_id)
        GROUP BY owned.hub, owned.username, total.place
    ) AS used
    JOIN (SELECT DISTINCT place, container_base FROM base) AS named USING (place)
    LEFT JOIN user_history AS known
        ON known.hub = used.hub AND known.username = used.username
        AND known.valid_from <= until AND (known.valid_to IS NULL OR known.valid_to > until)
    GROUP BY known.department, named.container_base
$$;

COMMENT ON FUNCTION panel_usage_by_department_and_image IS
    'Distinct users and hours in [since, until); departments as known at its end.';
