-- Public Actors as the store front searches and sorts them, and how many users an Actor has had.

ALTER TABLE actor ADD COLUMN total_users INTEGER NOT NULL DEFAULT 0;
UPDATE actor SET total_users = (
    SELECT count(DISTINCT run_count.user_id) FROM run_count WHERE run_count.actor_id = actor.id
);

-- A user's Actors in the orders of the list, which hold enough to pass over what is before a page.
CREATE INDEX actor_user_created ON actor (user_id, created_at, id);
CREATE INDEX actor_user_run ON actor (user_id, last_run_at, id);

CREATE TABLE front (
    k             INTEGER PRIMARY KEY AUTOINCREMENT,
    actor_id      TEXT NOT NULL UNIQUE,
    user_id       TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    modified_at   INTEGER NOT NULL,
    users         INTEGER NOT NULL,       -- as in actor, here for the order
    runs          INTEGER NOT NULL,
    pricing_model TEXT NOT NULL,          -- the one in force
    due_at        INTEGER,                -- from when the row is out of date: another price comes into force
    texts         INTEGER NOT NULL        -- fingerprint of what is in front_text and front_category
) STRICT;
CREATE INDEX front_popular ON front (users DESC, runs DESC, actor_id);
CREATE INDEX front_newest ON front (created_at DESC, actor_id);
CREATE INDEX front_updated ON front (modified_at DESC, actor_id);
CREATE INDEX front_user ON front (user_id);
CREATE INDEX front_due ON front (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE front_category (
    category TEXT NOT NULL,
    k        INTEGER NOT NULL,
    PRIMARY KEY (category, k)
) STRICT, WITHOUT ROWID;

CREATE VIRTUAL TABLE front_text USING fts5 (
    name, title, description, username, readme,
    content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);

-- All of them are out of date; the first look at the store front fills in the rest.
INSERT INTO front (actor_id, user_id, created_at, modified_at, users, runs, pricing_model, due_at, texts)
SELECT id, user_id, created_at, created_at, total_users, total_runs, 'FREE', 0, 0 FROM actor WHERE public;
DROP INDEX actor_public;
