-- On TimescaleDB container_observations stays a union of two joins: in a union of tables it would
-- read the chunks of all times.

ANALYZE open_spans;
