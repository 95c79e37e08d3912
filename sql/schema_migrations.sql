-- What has been applied. Made before the first migration, under the migrations' lock.
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    dialect    text,
    applied_at timestamptz NOT NULL DEFAULT now()
);
