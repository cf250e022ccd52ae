-- WEBHOOKS, and what is sent for them. Times are milliseconds since 1970.

CREATE TABLE webhook (
    k          INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    user_id    TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    actor_id   TEXT,                      -- the condition: of these, all that are given must match
    task_id    TEXT,
    run_id     TEXT,
    key        TEXT,                      -- idempotency key
    events     INTEGER NOT NULL,          -- a bit for each place in WebhookEvent::ALL
    ad_hoc     INTEGER NOT NULL,
    fired      INTEGER NOT NULL DEFAULT 0, -- ad hoc: those of the events that have come
    orphan     INTEGER NOT NULL DEFAULT 0, -- its run was deleted: it goes when nothing is left to be sent for it
    target     INTEGER NOT NULL,
    doc        TEXT NOT NULL              -- model::Webhook as JSON
) STRICT;
CREATE INDEX webhook_user ON webhook (user_id, created_at, id);
CREATE UNIQUE INDEX webhook_key ON webhook (user_id, key) WHERE key IS NOT NULL;
CREATE INDEX webhook_actor ON webhook (actor_id, user_id, created_at, id) WHERE actor_id IS NOT NULL;
CREATE INDEX webhook_task ON webhook (task_id, user_id, created_at, id) WHERE task_id IS NOT NULL;
CREATE INDEX webhook_run ON webhook (run_id, user_id) WHERE run_id IS NOT NULL;

-- What changes with every dispatch, apart from the document.
CREATE TABLE webhook_count (
    k     INTEGER PRIMARY KEY,
    total INTEGER NOT NULL,               -- dispatches ever made,
    kept  INTEGER NOT NULL,               -- those that have not expired,
    last  INTEGER NOT NULL                -- and the newest
) STRICT;

-- So that the totals of a user's lists need no count.
CREATE TABLE webhook_user_count (
    user_id    TEXT PRIMARY KEY,
    webhooks   INTEGER NOT NULL,
    dispatches INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Scheme, host and port. A target with nothing to send to it has no next_due.
CREATE TABLE webhook_target (
    t        INTEGER PRIMARY KEY,
    origin   TEXT NOT NULL UNIQUE,
    next_due INTEGER                      -- the least due_at of its dispatches
) STRICT;
CREATE INDEX webhook_target_due ON webhook_target (next_due) WHERE next_due IS NOT NULL;

-- What happened to a run or build that some webhook waits for; it goes with the last dispatch that is to be sent.
CREATE TABLE webhook_subject (
    s    INTEGER PRIMARY KEY,
    open INTEGER NOT NULL,                -- dispatches that are to be sent
    kind INTEGER NOT NULL,                -- 1 run, 2 build
    doc  TEXT NOT NULL                    -- the model's struct as it was, as JSON
) STRICT;

CREATE TABLE dispatch (
    d           INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    user_id     TEXT NOT NULL,
    webhook     INTEGER NOT NULL,         -- k, whether or not it is still there
    webhook_id  TEXT NOT NULL,
    target      INTEGER NOT NULL,
    event       INTEGER NOT NULL,         -- place in WebhookEvent::ALL
    status      INTEGER NOT NULL,         -- place in DispatchStatus::ALL
    created_at  INTEGER NOT NULL,
    due_at      INTEGER,                  -- of the next attempt, while one is to come
    finished_at INTEGER,
    attempts    INTEGER NOT NULL DEFAULT 0,
    subject     INTEGER,                  -- NULL for tests
    data        TEXT,                     -- eventData as JSON; NULL for tests
    calls       TEXT                      -- the attempts as JSON
) STRICT;
CREATE INDEX dispatch_user ON dispatch (user_id, created_at, id);
CREATE INDEX dispatch_webhook ON dispatch (webhook, created_at, id);
CREATE INDEX dispatch_due ON dispatch (target, due_at, d) WHERE due_at IS NOT NULL;
