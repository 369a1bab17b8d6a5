-- Version 7: how long agents waited for people.

-- The answers of a day, counted by how long they took: see `tasks::answers` for what a bucket is.
CREATE TABLE answer_days (
    workspace TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    -- Since 1970.
    day       INTEGER NOT NULL,
    bucket    INTEGER NOT NULL,
    answers   INTEGER NOT NULL,
    -- In milliseconds.
    slowest   INTEGER NOT NULL,
    PRIMARY KEY (workspace, day, bucket)
) STRICT, WITHOUT ROWID;
