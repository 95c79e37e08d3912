-- Users with names and e-mails, what each ran on eight days of two months, and nothing else.
INSERT INTO descriptions (digest, profile, image, memory_guarantee_bytes, cpu_guarantee_cores, gpus)
SELECT
    sha256(convert_to('many users ' || number, 'UTF8')), 'profile ' || number % 6,
    'image:' || number, (1 + number % 6) * 4294967296, 1 + number % 6, number % 2
FROM generate_series(1, 60) AS number;

INSERT INTO servers (hub, username, server_name)
SELECT 'campus', 'person' || lpad(number::text, 6, '0'), ''
FROM generate_series(1, {users}) AS number;

INSERT INTO people_history (hub, username, valid_from, full_name, email, department)
SELECT
    hub, username, '2025-01-01', 'Name ' || md5(username), username || '@campus.example',
    'Department ' || id % 50
FROM servers;

INSERT INTO usage_days
SELECT
    3600000000 * (1 + (servers.id * 7919 + place) % 9), 10000000, 1800000000,
    date '2025-11-01' + (servers.id * 31 + place * 17) % 61, servers.id,
    (SELECT min(id) FROM descriptions) + (servers.id * 13 + place) % 60, NULL, 1, 0,
    ARRAY[(3600000000 * (1 + (servers.id * 7919 + place) % 9)) * 256 + 8]
FROM servers
CROSS JOIN generate_series(0, 7) AS place;

SELECT usage_follow_rows(array_agg(usage_days), 1) FROM usage_days GROUP BY day;
UPDATE usage_closed SET before = '2025-12-31';
DELETE FROM usage_due;
ANALYZE;
