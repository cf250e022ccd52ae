-- Keys for the secrets in inputs: one for each user and Actor, sealed under the server's secret. Never deleted, since runs that
-- have ended may be resurrected after their Actor is gone.
CREATE TABLE input_key (
    user_id  TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    sealed   TEXT NOT NULL,
    PRIMARY KEY (user_id, actor_id)
) STRICT, WITHOUT ROWID;
