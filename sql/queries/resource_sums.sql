-- name: sum_up_resources
-- Adds up what sessions of one closed day or month used, if any ended before $1; gives how many.
SELECT resource_sum_up()::integer WHERE $1::timestamptz IS NOT NULL;

-- name: resources_due_from
-- When the first day or month began that ended before $1 and is not added up.
SELECT usage_midnight(min(first_day)) FROM resource_due WHERE first_day < usage_day($1::timestamptz);

-- name: resource_sums_that_differ
-- Closed days in [$1, $2), and months that end in it, whose sums are not what sessions say.
SELECT first_day AS day FROM resource_differences(usage_day($1), usage_day($2));
