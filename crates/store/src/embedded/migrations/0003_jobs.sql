-- Who runs what: users, Actors, builds, runs and their logs. Documents are the model's structs as JSON; the columns beside
-- them are what is searched and sorted by. Times are milliseconds since 1970.

CREATE TABLE user (
    id         TEXT PRIMARY KEY,
    username   TEXT NOT NULL UNIQUE,      -- folded for comparison; the spelling is in doc
    created_at INTEGER NOT NULL,
    doc        TEXT NOT NULL
) STRICT;

CREATE TABLE token (
    id         TEXT PRIMARY KEY,
    hash       BLOB NOT NULL UNIQUE,
    user_id    TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    doc        TEXT NOT NULL
) STRICT;
CREATE INDEX token_user ON token (user_id);

-- What is counted of an Actor stands in columns, so that a run never rewrites its document.
CREATE TABLE actor (
    id           TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL,
    name         TEXT NOT NULL,           -- folded
    public       INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    total_builds INTEGER NOT NULL DEFAULT 0,
    total_runs   INTEGER NOT NULL DEFAULT 0,
    last_run_at  INTEGER,
    doc          TEXT NOT NULL,
    UNIQUE (user_id, name)
) STRICT;
CREATE INDEX actor_public ON actor (created_at, id) WHERE public;

-- Versions in the order of their making. They carry their source, so they are compressed.
CREATE TABLE version (
    r        INTEGER PRIMARY KEY AUTOINCREMENT,
    actor_id TEXT NOT NULL,
    number   TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,  -- counts changes
    doc      BLOB NOT NULL,               -- JSON as zstd
    UNIQUE (actor_id, number)
) STRICT;

CREATE TABLE build (
    k          INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    actor_id   TEXT NOT NULL,
    owner_id   TEXT NOT NULL,             -- the Actor's owner, who need not have asked for the build
    number     TEXT NOT NULL,
    status     INTEGER NOT NULL,          -- place in JobStatus::ALL; below 4 it has not ended
    started_at INTEGER NOT NULL,
    doc        TEXT NOT NULL,
    UNIQUE (actor_id, number)
) STRICT;
CREATE INDEX build_actor ON build (actor_id, started_at, id);
CREATE INDEX build_owner ON build (owner_id, started_at, id);
CREATE INDEX build_live ON build (status) WHERE status < 4;

-- What is shown of one build only: its definition, input schema and README.
CREATE TABLE build_details (
    k   INTEGER PRIMARY KEY,
    doc TEXT NOT NULL
) STRICT;

CREATE TABLE build_source (
    k      INTEGER PRIMARY KEY,
    source BLOB NOT NULL                  -- JSON as zstd
) STRICT;

-- A list of several statuses is a merge of the lists of each, so each index begins with what the list is of and the status.
CREATE TABLE run (
    k          INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    user_id    TEXT NOT NULL,
    actor_id   TEXT NOT NULL,
    task_id    TEXT,
    status     INTEGER NOT NULL,          -- place in JobStatus::ALL; below 4 it has not ended
    started_at INTEGER NOT NULL,
    origin     INTEGER NOT NULL,          -- place in Origin::ALL
    doc        TEXT NOT NULL
) STRICT;
CREATE INDEX run_user ON run (user_id, status, started_at, id, origin);
CREATE INDEX run_actor ON run (actor_id, user_id, status, started_at, id, origin);
CREATE INDEX run_task ON run (task_id, user_id, status, started_at, id, origin) WHERE task_id IS NOT NULL;
CREATE INDEX run_live ON run (status) WHERE status < 4;

-- Runs by user, Actor and status, so that the totals of lists need no count. A row that has fallen to 0 stays: it tells that
-- the user has used the Actor.
CREATE TABLE run_count (
    user_id  TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    status   INTEGER NOT NULL,
    n        INTEGER NOT NULL,
    PRIMARY KEY (user_id, actor_id, status)
) STRICT, WITHOUT ROWID;

-- Keys of changes that must not be repeated.
CREATE TABLE run_once (
    run_id TEXT NOT NULL,
    key    TEXT NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (run_id, key)
) STRICT, WITHOUT ROWID;

-- Sealed parts of logs. Part n of a log is a file until its row is here; from then on the file is rubbish.
CREATE TABLE log (
    job    TEXT NOT NULL,                 -- 'run-' or 'build-' and its id
    part   INTEGER NOT NULL,              -- from 0
    first  INTEGER NOT NULL,              -- offset of its first byte in the whole log
    size   INTEGER NOT NULL,              -- bytes of text
    object TEXT NOT NULL,
    frames BLOB NOT NULL,                 -- the index that also stands at the end of the object
    PRIMARY KEY (job, part)
) STRICT, WITHOUT ROWID;
