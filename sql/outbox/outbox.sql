-- The recorder's outbox and note, in SQLite, on the Hub's own disk.

-- name: create_outbox
-- Events that the service has not yet acknowledged, in the order in which they happened.
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    body TEXT NOT NULL,
    added_at REAL NOT NULL
);

-- name: create_set_aside
-- Events that the service refused as malformed: kept for a person, never sent again.
CREATE TABLE IF NOT EXISTS set_aside (
    seq INTEGER PRIMARY KEY,
    body TEXT NOT NULL,
    message TEXT NOT NULL,
    set_aside_at REAL NOT NULL
);

-- name: create_notes
-- What is open: one row per server that the Hub runs, with when it was last seen alive, and
-- when a poll then found it gone.
CREATE TABLE IF NOT EXISTS notes (
    spawner_id INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL,
    username TEXT NOT NULL,
    current_username TEXT NOT NULL,
    server_name TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ready INTEGER NOT NULL,
    stopping_by TEXT,
    alive_at TEXT NOT NULL,
    gone_at TEXT
);

-- name: note_columns
SELECT name FROM pragma_table_info('notes');

-- name: add_gone_at
-- For files of before polls that found a server gone were noted.
ALTER TABLE notes ADD COLUMN gone_at TEXT;

-- name: add_event
INSERT INTO outbox (body, added_at) VALUES (?, ?);

-- name: next_events
SELECT seq, body FROM outbox ORDER BY seq LIMIT ?;

-- name: drop_event
DELETE FROM outbox WHERE seq = ?;

-- name: set_aside_event
INSERT OR REPLACE INTO set_aside (seq, body, message, set_aside_at)
SELECT seq, body, ?, ? FROM outbox WHERE seq = ?;

-- name: count_events
SELECT count(*) FROM outbox;

-- name: oldest
SELECT added_at FROM outbox ORDER BY seq LIMIT 1;

-- name: count_set_aside
SELECT count(*) FROM set_aside;

-- name: notes
SELECT spawner_id, session_id, username, current_username, server_name, started_at, ready,
       stopping_by, alive_at, gone_at
FROM notes ORDER BY spawner_id;

-- name: keep_note
INSERT OR REPLACE INTO notes (
    spawner_id, session_id, username, current_username, server_name, started_at, ready,
    stopping_by, alive_at, gone_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: drop_note
DELETE FROM notes WHERE spawner_id = ?;

-- name: touch_note
UPDATE notes SET alive_at = ? WHERE spawner_id = ? AND session_id = ?;
