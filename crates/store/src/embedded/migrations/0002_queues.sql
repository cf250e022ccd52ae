-- REQUEST QUEUES. One signed number says where a request stands, until when it is locked, and whether it is handled:
--   its place, while it is pending: negative in front, positive at the end;
--   the end of its lock with the same sign, while it is locked: outside of [-now, now], and inside again by itself;
--   NULL, when it is handled.
-- A head is therefore one range of one index, and an expired lock needs nobody to take it away.
CREATE TABLE rq (
    r          INTEGER PRIMARY KEY,
    k          INTEGER NOT NULL,
    id         TEXT NOT NULL,
    ord        INTEGER,
    place      INTEGER,                   -- while it is locked, where it stood before
    lock_by    TEXT,                      -- client key of the holder, if it gave one
    lock_run   TEXT,                      -- run of the holder, if it is one
    retries    INTEGER NOT NULL,
    method     TEXT,                      -- NULL: GET
    unique_key TEXT,                      -- NULL: the same as url
    url        TEXT NOT NULL,
    body       BLOB                       -- NULL: in rq_body
) STRICT;

CREATE UNIQUE INDEX rq_id ON rq (k, id);
CREATE INDEX rq_ord ON rq (k, ord) WHERE ord IS NOT NULL;

-- Bodies that are not small: a lock rewrites the row of its request, and should not rewrite these.
CREATE TABLE rq_body (
    r    INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- Queues in which a run has ever locked something, so that its end finds its locks without an index over all of them.
CREATE TABLE rq_run (
    run TEXT NOT NULL,
    k   INTEGER NOT NULL,
    PRIMARY KEY (run, k)
) STRICT, WITHOUT ROWID;
