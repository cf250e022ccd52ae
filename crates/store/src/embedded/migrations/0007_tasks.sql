-- Tasks. Their inputs can be large and stand apart, so that neither lists nor the count of runs touch them.
CREATE TABLE task (
    k          INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    user_id    TEXT NOT NULL,
    actor_id   TEXT NOT NULL,
    name       TEXT NOT NULL,             -- folded
    created_at INTEGER NOT NULL,
    total_runs INTEGER NOT NULL DEFAULT 0,
    doc        TEXT NOT NULL,             -- model::Task as JSON, without its input
    UNIQUE (user_id, name)
) STRICT;
CREATE INDEX task_user ON task (user_id, created_at, id);
CREATE INDEX task_actor ON task (actor_id);

CREATE TABLE task_input (
    k    INTEGER PRIMARY KEY,
    body TEXT NOT NULL                    -- a JSON object
) STRICT;

-- Runs by task and status, so that the totals of lists need no count.
CREATE TABLE task_run_count (
    user_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    status  INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    PRIMARY KEY (task_id, user_id, status)
) STRICT, WITHOUT ROWID;

INSERT INTO task_run_count (user_id, task_id, status, n)
    SELECT user_id, task_id, status, count(*) FROM run WHERE task_id IS NOT NULL GROUP BY task_id, user_id, status;

-- How many of what a user owns there are, for the same reason.
CREATE TABLE owned_count (
    user_id TEXT NOT NULL,
    noun    INTEGER NOT NULL,             -- 1 task
    n       INTEGER NOT NULL,
    PRIMARY KEY (user_id, noun)
) STRICT, WITHOUT ROWID;
