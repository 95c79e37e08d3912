-- What the README and the dashboards of sampled container metrics ask, in their words; $__…
-- are Grafana's macros, $user its variable.

-- name: readme_containers_over_a_day
-- Get the latest observation for each container
WITH current_containers AS (
  SELECT DISTINCT ON (user_email, pod_name)
    user_email,
    user_name,
    node_name,
    age_seconds / 3600.0 AS age_hours,
    container_base
  FROM container_observations
  ORDER BY user_email, pod_name, timestamp DESC
)
SELECT *
FROM current_containers
WHERE age_hours > 24
ORDER BY age_hours DESC;

-- name: readme_daily_active_users
SELECT
  time_bucket('1 day', timestamp) AS day,
  COUNT(DISTINCT user_email) AS unique_users
FROM container_observations
WHERE timestamp > NOW() - INTERVAL '30 days'
GROUP BY day
ORDER BY day;

-- name: readme_node_heatmap
SELECT
  time_bucket('1 hour', timestamp) AS hour,
  node_name,
  COUNT(DISTINCT pod_name) AS container_count
FROM container_observations
WHERE timestamp > NOW() - INTERVAL '7 days'
GROUP BY hour, node_name
ORDER BY hour, node_name;

-- name: readme_runtime_by_user
-- Properly calculates runtime by taking MAX age per pod (session)
-- This avoids double-counting when summing observations
SELECT
  user_email,
  user_name,
  SUM(max_age) / 3600.0 AS total_runtime_hours,
  COUNT(DISTINCT pod_name) AS container_count,
  MAX(last_seen) AS last_seen
FROM (
  SELECT
    user_email,
    user_name,
    pod_name,
    MAX(age_seconds) AS max_age,
    MAX(timestamp) AS last_seen
  FROM container_observations
  WHERE timestamp >= NOW() - INTERVAL '30 days'
  GROUP BY user_email, user_name, pod_name
) AS pod_sessions
GROUP BY user_email, user_name
ORDER BY total_runtime_hours DESC
LIMIT 100;

-- name: readme_peak_usage_times
SELECT
  EXTRACT(HOUR FROM timestamp) AS hour_of_day,
  EXTRACT(DOW FROM timestamp) AS day_of_week,
  COUNT(DISTINCT pod_name) AS avg_containers
FROM container_observations
WHERE timestamp >= NOW() - INTERVAL '30 days'
GROUP BY hour_of_day, day_of_week
ORDER BY avg_containers DESC;

-- name: readme_image_adoption
SELECT
  time_bucket('1 week', timestamp) AS week,
  container_base,
  COUNT(DISTINCT user_email) AS unique_users
FROM container_observations
WHERE timestamp >= NOW() - INTERVAL '180 days'
GROUP BY week, container_base
ORDER BY week, unique_users DESC;

-- name: readme_count_observations
SELECT COUNT(*) FROM container_observations;

-- name: readme_export_observations
SELECT * FROM container_observations
WHERE timestamp >= '2024-01-01';

-- name: readme_export_hours
SELECT
  time_bucket('1 hour', timestamp) AS hour,
  COUNT(DISTINCT user_email) AS active_users,
  COUNT(DISTINCT pod_name) AS total_containers
FROM container_observations
WHERE timestamp >= NOW() - INTERVAL '30 days'
GROUP BY hour
ORDER BY hour;

-- name: overview_active_users_now
SELECT COUNT(DISTINCT user_email) FROM container_observations
WHERE timestamp > NOW() - INTERVAL '1 hour';

-- name: overview_active_users_of_window
SELECT COUNT(DISTINCT user_email) FROM user_sessions
WHERE session_end >= $__timeFrom() AND session_start <= $__timeTo();

-- name: overview_total_users
SELECT COUNT(*) FROM users;

-- name: overview_now
SELECT
  COUNT(DISTINCT node_name) AS active_nodes,
  COUNT(DISTINCT pod_name) AS applications,
  COUNT(DISTINCT container_base) AS application_types
FROM container_observations
WHERE timestamp > NOW() - INTERVAL '1 hour';

-- name: overview_active_users_over_time
SELECT
  time_bucket('$__interval', timestamp) AS time,
  COUNT(DISTINCT user_email) AS "Active Users"
FROM container_observations
WHERE $__timeFilter(timestamp)
GROUP BY time
ORDER BY time;

-- name: overview_applications_over_time
SELECT
  time_bucket('$__interval', timestamp) AS time,
  COUNT(DISTINCT pod_name) AS "Applications"
FROM container_observations
WHERE $__timeFilter(timestamp)
GROUP BY time
ORDER BY time;

-- name: overview_applications_per_node
SELECT
  time_bucket('$__interval', timestamp) AS time,
  node_name AS metric,
  COUNT(DISTINCT pod_name) AS value
FROM container_observations
WHERE $__timeFilter(timestamp)
GROUP BY time, metric
ORDER BY time;

-- name: overview_application_types
SELECT
  time_bucket('$__interval', timestamp) AS time,
  container_base AS metric,
  COUNT(DISTINCT pod_name) AS value
FROM container_observations
WHERE $__timeFilter(timestamp)
GROUP BY time, metric
ORDER BY time;

-- name: overview_top_users
SELECT
  us.user_email AS "User Email",
  COALESCE(u.full_name, us.user_email) AS "User Name",
  SUM(us.runtime_hours) AS "Total Runtime (Hours)",
  COUNT(*) AS "Application Sessions",
  MAX(us.session_end) AS "Last Seen"
FROM user_sessions us
LEFT JOIN users u ON us.user_email = u.email
WHERE us.session_start >= $__timeFrom()
  AND us.session_end <= $__timeTo()
GROUP BY us.user_email, u.full_name
ORDER BY "Total Runtime (Hours)" DESC
LIMIT 50;

-- name: overview_application_usage
SELECT
  container_base AS "Application",
  string_agg(DISTINCT container_version, ', ' ORDER BY container_version) AS "Version",
  COUNT(DISTINCT user_email) AS "Unique Users",
  COUNT(*) AS "Total Sessions"
FROM user_sessions
WHERE session_start >= $__timeFrom()
  AND session_end <= $__timeTo()
GROUP BY container_base
ORDER BY "Total Sessions" DESC;

-- name: hours_of_nodes
SELECT hour AS time, node_name AS metric, total_containers AS value
FROM hourly_node_stats
WHERE $__timeFilter(hour)
ORDER BY hour, node_name;

-- name: hours_of_nodes_added_up
SELECT hour AS time, SUM(total_containers) AS containers, ROUND(AVG(avg_age_seconds), 6) AS age
FROM hourly_node_stats
WHERE $__timeFilter(hour)
GROUP BY hour
ORDER BY hour;

-- name: hours_of_images
SELECT hour AS time, container_base AS metric, SUM(unique_users) AS value
FROM hourly_image_stats
WHERE $__timeFilter(hour)
GROUP BY hour, container_base
ORDER BY hour, container_base;

-- name: users_added
SELECT COUNT(*) FROM users
WHERE first_seen >= $__timeFrom() AND first_seen <= $__timeTo();

-- name: users_growth
SELECT time_bucket('1 day', first_seen) AS time, COUNT(*) AS "New Users"
FROM users
WHERE $__timeFilter(first_seen)
GROUP BY time
ORDER BY time;

-- name: users_total_over_time
SELECT time, SUM(added) OVER (ORDER BY time) AS "Total Users"
FROM (
  SELECT time_bucket('1 day', first_seen) AS time, COUNT(*) AS added
  FROM users
  GROUP BY time
) AS days
ORDER BY time;

-- name: users_cpu_against_gpu
SELECT
  COALESCE(SUM(gpu_hours), 0) AS "GPU Hours",
  COALESCE(SUM(cpu_hours), 0) AS "CPU Hours"
FROM user_session_stats;

-- name: users_node_distribution
SELECT node_name, SUM(runtime_hours) AS hours, COUNT(DISTINCT user_email) AS users
FROM user_sessions
WHERE session_start >= $__timeFrom() AND session_end <= $__timeTo()
GROUP BY node_name
ORDER BY hours DESC;

-- name: users_container_versions
SELECT container_base, container_version, COUNT(*) AS sessions
FROM user_sessions
WHERE session_start >= $__timeFrom() AND session_end <= $__timeTo()
GROUP BY container_base, container_version
ORDER BY sessions DESC, container_base, container_version;

-- name: user_detail_user
SELECT full_name, email, department, job_title, first_seen, last_seen
FROM users
WHERE email = '$user';

-- name: user_detail_of_all_time
SELECT total_hours, gpu_hours, cpu_hours, total_sessions, applications_used,
  first_session, last_session
FROM user_session_stats
WHERE user_email = '$user';

-- name: user_detail_hours
SELECT COALESCE(SUM(runtime_hours), 0) AS "Total Hours"
FROM user_sessions
WHERE user_email = '$user'
  AND session_start >= $__timeFrom()
  AND session_end <= $__timeTo();

-- name: user_detail_cpu_hours
SELECT COALESCE(SUM(runtime_hours), 0) AS "CPU Hours"
FROM user_sessions
WHERE user_email = '$user'
  AND node_name ILIKE '%cpu%'
  AND session_start >= $__timeFrom()
  AND session_end <= $__timeTo();

-- name: user_detail_applications
SELECT COALESCE(COUNT(DISTINCT container_base), 0) AS "Applications Used"
FROM user_sessions
WHERE user_email = '$user'
  AND session_start >= $__timeFrom()
  AND session_end <= $__timeTo();

-- name: user_detail_sessions
SELECT
  session_start AS "Session Start",
  session_end AS "Session End",
  ROUND(runtime_hours, 2) AS "Runtime (Hours)",
  node_name AS "Node",
  container_base || ':' || container_version AS "Container Image"
FROM user_sessions
WHERE user_email = '$user'
  AND session_start >= $__timeFrom()
  AND session_end <= $__timeTo()
ORDER BY session_start DESC;

-- name: user_detail_numbered_sessions
SELECT pod_name, node_name, session_id, session_start
FROM user_sessions
WHERE user_email = '$user'
ORDER BY pod_name, node_name, session_id;

-- name: demographics_departments
SELECT COALESCE(u.department, 'Unknown') AS department,
  COUNT(DISTINCT us.user_email) AS users, SUM(us.runtime_hours) AS hours
FROM user_sessions us
LEFT JOIN users u ON us.user_email = u.email
WHERE us.session_start >= $__timeFrom() AND us.session_end <= $__timeTo()
GROUP BY 1
ORDER BY hours DESC;

-- name: demographics_job_titles
SELECT COALESCE(job_title, 'Unknown') AS job_title, COUNT(*) AS users
FROM users
GROUP BY 1
ORDER BY users DESC, 1;

-- name: demographics_departments_by_application
SELECT us.container_base, COALESCE(u.department, 'Unknown') AS department,
  COUNT(DISTINCT us.user_email) AS users
FROM user_sessions us
LEFT JOIN users u ON us.user_email = u.email
WHERE us.session_start >= $__timeFrom() AND us.session_end <= $__timeTo()
GROUP BY 1, 2
ORDER BY 1, 2;

-- name: export_per_user
WITH favorites AS (
  SELECT DISTINCT ON (user_email) user_email, container_base
  FROM user_sessions
  GROUP BY user_email, container_base
  ORDER BY user_email, SUM(runtime_hours) DESC
)
SELECT
  u.full_name AS fullname,
  s.user_email AS email,
  u.department,
  u.job_title AS jobtitle,
  ROUND(s.gpu_hours, 2) AS gpu_hours,
  ROUND(s.cpu_hours, 2) AS cpu_hours,
  ROUND(s.total_hours, 2) AS total_hours,
  s.total_sessions,
  s.last_session AS last_seen,
  f.container_base AS favorite_container
FROM user_session_stats s
LEFT JOIN users u ON u.email = s.user_email
LEFT JOIN favorites f ON f.user_email = s.user_email
ORDER BY total_hours DESC;
