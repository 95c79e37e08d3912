-- What polls saw is read from an index alone: its users, images and nodes are in it. Ordered by the
-- last poll, of the block that is being filled those come first that the latest polls saw.

DROP INDEX observation_spans_block;
CREATE INDEX observation_spans_block ON observation_spans (block, last_poll)
    INCLUDE (first_poll, user_id, image_id, node_id);

-- An index alone answers only of pages that are known to be seen by all: those of closed blocks are
-- within a block or two, however large the table is.
ALTER TABLE observation_spans SET (
    -- an end, which is in the index, finds room on any page
    fillfactor = 100,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0,
    -- else the last fiftieth of the table waits for more
    vacuum_index_cleanup = on
);
