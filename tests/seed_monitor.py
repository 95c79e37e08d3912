"""The examples of the Complete Performance Monitor's documentation, as they stand there.

Only the imports are ours, and the password is not an argument. Run by ``test_sampler_monitors.py``
with ``psycopg2.connect`` leading to the tests' own server.
"""

BASIC_USAGE = """
import psycopg2
from jupyterhub_metrics.sampler import CompleteResourceMonitor

# Database connection
conn = psycopg2.connect(
    host="localhost",
    database="monitoring",
    user="monitor_user",
)

# Initialize monitor with 1000-sample circular buffer
with CompleteResourceMonitor(
    conn=conn,
    table_name="performance_metrics",
    capacity=1000,
    master=True,
    node_name="server-01"
) as monitor:

    # Sample system metrics
    monitor.sample_node(interval_seconds=2.0)

    # Sample container metrics
    monitor.sample_container(
        container_id="my-app",
        container_name="web-server",
        interval_seconds=1.0
    )

    # Get recent samples
    recent = monitor.get_recent_samples(limit=10)
    monitor.print_sample_summary(recent)
"""

CORE_METHODS = """
monitor.sample_node(interval_seconds=2.0)
monitor.sample_container(
    container_id="nginx-web",
    container_name="web-server",
    interval_seconds=1.0
)
# Get last 50 samples from specific node
recent = monitor.get_recent_samples(
    limit=50,
    node_filter="server-01"
)
monitor.set_capacity(5000)  # Resize to 5000 samples
cleaned = monitor.cleanup_old_samples(keep_hours=12)
print(f"Cleaned {cleaned} old samples")
# Monitor specific containers
monitor.sample_container("nginx-web")
monitor.sample_container("postgres-db")
monitor.sample_container("redis-cache")
import logging
logging.basicConfig(level=logging.DEBUG)

# Or add debug prints
monitor.debug_table_state()
"""

SEVERAL_HOSTS = """
# Multi-host setup with central database
hosts = [
    {"host": "app-server-01", "master": True},
    {"host": "app-server-02", "master": False},
    {"host": "db-server-01", "master": False}
]

for host_config in hosts:
    monitor = CompleteResourceMonitor(
        conn=get_connection(),
        node_name=host_config["host"],
        master=host_config["master"]
    )
    # Deploy monitor to each host
"""

QUERIES = {
    "recent system metrics": """
SELECT sample_time, cpu_total_pct, mem_available_mb, temperature_c
FROM monitor_samples_ring
WHERE node_flag = TRUE
  AND sample_time > (EXTRACT(epoch FROM NOW()) - 3600)
ORDER BY sample_time DESC;
""",
    "container performance": """
SELECT
  sample_time,
  container_name,
  c_rss_mb as memory_mb,
  cpu_total_pct,
  net_rx_mb_s + net_tx_mb_s as network_mb_s
FROM monitor_samples_ring
WHERE node_flag = FALSE
  AND container_name = 'web-server'
ORDER BY sample_time DESC
LIMIT 100;
""",
    "system overview": """
SELECT DISTINCT ON (node_name, container_name)
  node_name,
  container_name,
  cpu_total_pct,
  CASE
    WHEN node_flag THEN mem_available_mb
    ELSE c_rss_mb
  END as memory_mb,
  temperature_c
FROM monitor_samples_ring
WHERE sample_time IS NOT NULL
ORDER BY node_name, container_name, sample_time DESC;
""",
    "time range analysis": """
SELECT
  node_name,
  AVG(cpu_total_pct) as avg_cpu,
  MAX(cpu_total_pct) as max_cpu,
  COUNT(*) as samples
FROM monitor_samples_ring
WHERE node_flag = TRUE
  AND sample_time > (EXTRACT(epoch FROM NOW()) - 21600)
GROUP BY node_name;
""",
    "table size": "SELECT pg_size_pretty(pg_total_relation_size('monitor_samples_ring'));",
    "index usage": """
SELECT schemaname, relname, indexrelname, idx_scan
FROM pg_stat_user_indexes
WHERE relname = 'monitor_samples_ring';
""",
}

CONFIGURATION = """
# /etc/performance-monitor/config.yaml
database:
  host: localhost
  port: 5432
  database: monitoring
  user: monitor_user
  password_env: POSTGRES_PASSWORD

monitoring:
  table_name: performance_metrics
  capacity: 50000
  node_name: "{{ ansible_hostname }}"
  master: false

  intervals:
    node_seconds: 5
    container_seconds: 2

  containers:
    - web-server
    - database
    - cache

logging:
  level: INFO
  file: /var/log/performance-monitor.log
"""
