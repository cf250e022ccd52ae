-- Actors of others that a user has run, so that a list of Actors need not look through all that the user has run.
CREATE TABLE actor_use (
    user_id  TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    PRIMARY KEY (user_id, actor_id)
) STRICT, WITHOUT ROWID;

INSERT INTO actor_use (user_id, actor_id)
    SELECT DISTINCT run_count.user_id, actor.id FROM run_count JOIN actor ON actor.id = run_count.actor_id
    WHERE actor.user_id <> run_count.user_id;
