-- What was found out about the items of a dataset by reading them all, kept so that it need not be found out again.
CREATE TABLE ds_note (
    k    INTEGER PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;
