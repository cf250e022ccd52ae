-- Storages as objects, and what is in datasets and key-value stores.
--
-- `k` is a storage's key inside; its public id stands only in `storage`. Keys are never used again, so that caches and late
-- writers can hold on to one. Times are milliseconds since 1970.

CREATE TABLE storage (
    k          INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    kind       INTEGER NOT NULL,          -- 1 dataset, 2 key-value store, 3 request queue
    user_id    TEXT NOT NULL,
    name       TEXT,                      -- folded for comparison; the spelling is in doc
    created_at INTEGER NOT NULL,
    lives_with TEXT,                      -- run whose end of life is its own
    deleted_at INTEGER,                   -- set: invisible, contents go in the background
    doc        TEXT NOT NULL              -- model::Storage as JSON
) STRICT;

CREATE UNIQUE INDEX storage_name ON storage (user_id, kind, name) WHERE name IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX storage_named ON storage (user_id, kind, created_at, id) WHERE name IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX storage_all ON storage (user_id, kind, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX storage_lives_with ON storage (lives_with) WHERE lives_with IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX storage_deleted ON storage (deleted_at) WHERE deleted_at IS NOT NULL;

-- One narrow, hot row for each storage that is not deleted: a write that finds none fails with "not found".
CREATE TABLE counter (
    k            INTEGER PRIMARY KEY,
    modified_at  INTEGER NOT NULL,
    accessed_at  INTEGER NOT NULL,
    items        INTEGER NOT NULL DEFAULT 0,
    clean        INTEGER NOT NULL DEFAULT 0,
    handled      INTEGER NOT NULL DEFAULT 0,
    bytes        INTEGER NOT NULL DEFAULT 0,
    reads        INTEGER NOT NULL DEFAULT 0,
    writes       INTEGER NOT NULL DEFAULT 0,
    deletes      INTEGER NOT NULL DEFAULT 0,
    lists        INTEGER NOT NULL DEFAULT 0,
    head_reads   INTEGER NOT NULL DEFAULT 0,
    tail         INTEGER NOT NULL DEFAULT 0, -- datasets: the open tail (0: none),
    tail_first   INTEGER NOT NULL DEFAULT 0, -- index of its first item,
    tail_bytes   INTEGER NOT NULL DEFAULT 0, -- its size
    tail_rows    INTEGER NOT NULL DEFAULT 0, -- and its chunks
    place_skew   INTEGER NOT NULL DEFAULT 0, -- queues: milliseconds that its time is ahead of the clock,
    place        INTEGER NOT NULL DEFAULT 0, -- and the last place given (see rq)
    client       INTEGER NOT NULL DEFAULT 0, -- queues: hash of the first client's key (0: none yet),
    many_clients INTEGER NOT NULL DEFAULT 0  -- and whether there was a second
) STRICT;

-- DATASETS. New items go to an open tail; a tail that has grown or gone quiet is closed and sealed into one object.
CREATE TABLE ds_tail (
    tail  INTEGER PRIMARY KEY AUTOINCREMENT,
    k     INTEGER NOT NULL,
    first INTEGER NOT NULL,               -- index of its first item
    state INTEGER NOT NULL                -- 0 open and small, 1 open and worth sealing once it is quiet, 2 closed
) STRICT;
CREATE INDEX ds_tail_place ON ds_tail (k, first);
CREATE INDEX ds_tail_due ON ds_tail (state) WHERE state > 0;

-- Clustered by tail and index: r = tail << 24 | (index of the first item - index of the tail's first item).
CREATE TABLE ds_chunk (
    r     INTEGER PRIMARY KEY,
    n     INTEGER NOT NULL,               -- items
    size  INTEGER NOT NULL,               -- bytes of the lines
    codec INTEGER NOT NULL,               -- 0 JSON lines, 1 the same as one zstd frame
    body  BLOB NOT NULL
) STRICT;

CREATE TABLE ds_segment (
    k       INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    size    INTEGER NOT NULL,             -- bytes of the lines
    object  TEXT NOT NULL,
    bytes   INTEGER NOT NULL,             -- bytes of the object
    columns INTEGER NOT NULL,             -- the field paths seen in it
    frames  BLOB NOT NULL,                -- the index that also stands at the object's end
    PRIMARY KEY (k, first)
) STRICT, WITHOUT ROWID;

-- Sets of field paths; segments of a dataset mostly share one.
CREATE TABLE ds_columns (
    c     INTEGER PRIMARY KEY,
    k     INTEGER NOT NULL,
    paths TEXT NOT NULL                   -- JSON array, sorted
) STRICT;
CREATE INDEX ds_columns_k ON ds_columns (k);

-- KEY-VALUE STORES. Listing keys walks narrow rows only; bodies stand apart.
CREATE TABLE record (
    k            INTEGER NOT NULL,
    key          TEXT NOT NULL,
    size         INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    encoding     TEXT,
    etag         BLOB NOT NULL,
    modified_at  INTEGER NOT NULL,
    body         INTEGER,                 -- row of record_body, if small,
    object       TEXT,                    -- or key of the object, if large
    PRIMARY KEY (k, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE record_body (
    r    INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- OBJECTS. A key is noted before anything is written under it, so that a crash leaves none that nobody knows; the row that
-- names it takes it from here. What is left at a start is rubbish.
CREATE TABLE object_pending (
    object TEXT PRIMARY KEY,
    since  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Objects that no row names any more; removed after a while, for the sake of readers and of backups.
CREATE TABLE object_garbage (
    object TEXT PRIMARY KEY,
    since  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX object_garbage_since ON object_garbage (since);
