-- Schedules. The inputs of their actions can be large and stand apart, so that lists do not touch them.
CREATE TABLE schedule (
    k          INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    user_id    TEXT NOT NULL,
    name       TEXT NOT NULL,             -- folded
    created_at INTEGER NOT NULL,
    next_at    INTEGER,                   -- NULL: never
    state      TEXT NOT NULL,             -- model::ScheduleState as JSON; next_at counts
    doc        TEXT NOT NULL,             -- model::Schedule as JSON, without inputs
    UNIQUE (user_id, name)
) STRICT;
CREATE INDEX schedule_user ON schedule (user_id, created_at, id);
CREATE INDEX schedule_due ON schedule (next_at) WHERE next_at IS NOT NULL;

CREATE TABLE schedule_input (
    k    INTEGER PRIMARY KEY,
    body TEXT NOT NULL                    -- inputs by action, as JSON
) STRICT;

-- The newest entries of each log; `n` counts all that ever were.
CREATE TABLE schedule_log (
    k    INTEGER NOT NULL,
    n    INTEGER NOT NULL,
    body TEXT NOT NULL,                   -- model::ScheduleLogEntry as JSON
    PRIMARY KEY (k, n)
) STRICT, WITHOUT ROWID;
