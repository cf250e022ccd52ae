-- How many entries of a long list fall into each stretch of 2^22 milliseconds (about 70 minutes), so that neither a page deep in
-- it nor a count walks past all that is before. Rows with nothing in them are deleted.
CREATE TABLE list_block (
    list  TEXT NOT NULL,                  -- what it is a list of, see blocks.rs
    block INTEGER NOT NULL,               -- time >> 22
    part  INTEGER NOT NULL,               -- runs: the status; storages: whether they have a name
    n     INTEGER NOT NULL,
    PRIMARY KEY (list, block, part)
) STRICT, WITHOUT ROWID;

INSERT INTO list_block (list, block, part, n)
    SELECT user_id, started_at >> 22, status, count(*) FROM run GROUP BY 1, 2, 3;
INSERT INTO list_block (list, block, part, n)
    SELECT user_id || 'a' || actor_id, started_at >> 22, status, count(*) FROM run GROUP BY 1, 2, 3;
INSERT INTO list_block (list, block, part, n)
    SELECT user_id || 't' || task_id, started_at >> 22, status, count(*) FROM run WHERE task_id IS NOT NULL GROUP BY 1, 2, 3;
INSERT INTO list_block (list, block, part, n)
    SELECT user_id || 's' || kind, created_at >> 22, name IS NOT NULL, count(*) FROM storage WHERE deleted_at IS NULL
    GROUP BY 1, 2, 3;
