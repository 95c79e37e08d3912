-- Plain PostgreSQL has no chunks; that packed hours are there, it will know at once.

ANALYZE hourly_node_counts, hourly_image_counts;
