-- Version 1: workspaces, their tasks and messages, and the ids of the keys that the tokens need.
-- Times are milliseconds since 1970. `number` orders rows and never leaves the database: it would
-- tell one workspace how much the others do.

CREATE TABLE workspaces (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    created_at  INTEGER NOT NULL,
    archived_at INTEGER
) STRICT;

CREATE INDEX workspaces_by_name ON workspaces (name);

CREATE TABLE tasks (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    workspace  TEXT NOT NULL REFERENCES workspaces (id),
    title      TEXT NOT NULL,
    body       TEXT NOT NULL,
    assignee   TEXT NOT NULL CHECK (assignee IN ('agent', 'human')),
    status     TEXT NOT NULL CHECK (status IN ('notstarted', 'ongoing', 'completed', 'blocked', 'rejected')),
    author     TEXT NOT NULL CHECK (author IN ('agent', 'human')),
    -- The token of the agent that made the task, and of the one that took it.
    made_with  TEXT,
    taken_with TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE INDEX tasks_by_workspace ON tasks (workspace, number);
CREATE INDEX tasks_by_status ON tasks (workspace, status, assignee, number);

CREATE TABLE messages (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    workspace  TEXT NOT NULL REFERENCES workspaces (id),
    task       TEXT NOT NULL REFERENCES tasks (id),
    author     TEXT NOT NULL CHECK (author IN ('agent', 'human')),
    made_with  TEXT,
    text       TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX messages_by_task ON messages (workspace, task, number);

-- The check value: which keys a key file must hold to go with this database. Ids, no keys.
CREATE TABLE required_keys (
    ring     TEXT NOT NULL CHECK (ring IN ('signing', 'sealing')),
    id       TEXT NOT NULL,
    since    INTEGER NOT NULL,
    PRIMARY KEY (ring, id)
) STRICT, WITHOUT ROWID;
