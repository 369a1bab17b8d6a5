-- Version 3: who did what to a task by name, its place on the board, whether it waits for a person,
-- attachments, approvals, the timeline, and the protocol of a workspace.
-- Names are kept as they were at that time: a person may be renamed, and a token's slot may go.

ALTER TABLE workspaces ADD COLUMN protocol TEXT NOT NULL DEFAULT 'dual' CHECK (protocol IN ('dual', 'legacy'));

ALTER TABLE tasks ADD COLUMN author_user TEXT;
ALTER TABLE tasks ADD COLUMN author_name TEXT NOT NULL DEFAULT '';
-- The slot of the agent that took the task; goes with `taken_with`.
ALTER TABLE tasks ADD COLUMN taken_name TEXT;
-- The place among the tasks of the same state, lowest first.
ALTER TABLE tasks ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
-- Since when the task waits for a person; null if it does not.
ALTER TABLE tasks ADD COLUMN asks_since INTEGER;

ALTER TABLE messages ADD COLUMN author_user TEXT;
ALTER TABLE messages ADD COLUMN author_name TEXT NOT NULL DEFAULT '';

UPDATE tasks SET position = number * 1048576;
UPDATE tasks SET asks_since = updated_at
 WHERE status = 'blocked' OR (assignee = 'human' AND status = 'notstarted');

DROP INDEX tasks_by_status;
CREATE INDEX tasks_by_status ON tasks (workspace, status, number);
CREATE INDEX tasks_by_place ON tasks (workspace, status, position);
CREATE INDEX tasks_to_take ON tasks (workspace, position) WHERE status = 'notstarted' AND assignee = 'agent';
CREATE INDEX tasks_being_done ON tasks (workspace, taken_with, updated_at) WHERE status = 'ongoing';
CREATE INDEX tasks_asking ON tasks (workspace, asks_since) WHERE asks_since IS NOT NULL;

-- The task first, here and below: deleting a task looks for what refers to it by the task alone.
DROP INDEX messages_by_task;
CREATE INDEX messages_by_task ON messages (task, workspace, number);

CREATE TABLE attachments (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    workspace   TEXT NOT NULL REFERENCES workspaces (id),
    task        TEXT NOT NULL REFERENCES tasks (id),
    -- The message it came with; null if it came with the task.
    message     TEXT REFERENCES messages (id),
    author      TEXT NOT NULL CHECK (author IN ('agent', 'human')),
    author_user TEXT,
    author_name TEXT NOT NULL,
    made_with   TEXT,
    name        TEXT NOT NULL,
    media_type  TEXT NOT NULL,
    size        INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    -- Last, so that what describes it is read without it.
    data        BLOB NOT NULL
) STRICT;

CREATE INDEX attachments_by_task ON attachments (task, workspace, number);
CREATE INDEX attachments_by_message ON attachments (message) WHERE message IS NOT NULL;
CREATE INDEX attachments_by_workspace ON attachments (workspace);

CREATE TABLE approvals (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    workspace   TEXT NOT NULL REFERENCES workspaces (id),
    -- The task that the agent was at, if any.
    task        TEXT REFERENCES tasks (id),
    -- Whose answer it is: the session, which never leaves this process, and the token's generation.
    session     TEXT NOT NULL,
    slot        TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    made_with   TEXT NOT NULL,
    request     TEXT NOT NULL,
    tool        TEXT NOT NULL,
    description TEXT NOT NULL,
    preview     TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('pending', 'allowed', 'denied', 'gone')),
    by_rule     INTEGER NOT NULL DEFAULT 0,
    answered_by_user TEXT,
    answered_by TEXT,
    created_at  INTEGER NOT NULL,
    closed_at   INTEGER
) STRICT;

CREATE INDEX approvals_by_task ON approvals (task, workspace, number) WHERE task IS NOT NULL;
CREATE INDEX approvals_by_workspace ON approvals (workspace, number);
CREATE INDEX approvals_pending ON approvals (workspace, created_at) WHERE state = 'pending';
CREATE UNIQUE INDEX approvals_of_session ON approvals (session, request) WHERE state = 'pending';

CREATE TABLE approval_rules (
    id           TEXT PRIMARY KEY,
    workspace    TEXT NOT NULL REFERENCES workspaces (id),
    slot         TEXT NOT NULL,
    tool         TEXT NOT NULL,
    made_by_user TEXT,
    made_by      TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    UNIQUE (workspace, slot, tool)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace  TEXT NOT NULL REFERENCES workspaces (id),
    task       TEXT NOT NULL REFERENCES tasks (id),
    at         INTEGER NOT NULL,
    actor      TEXT NOT NULL CHECK (actor IN ('agent', 'human')),
    actor_user TEXT,
    actor_name TEXT NOT NULL,
    what       TEXT NOT NULL CHECK (what IN ('created', 'taken', 'status', 'assigned', 'edited',
                                             'attached', 'approval_asked', 'approval_answered')),
    -- What it was and what it is now, in the words of `what`: states, assignees, names, answers.
    before     TEXT NOT NULL DEFAULT '',
    after      TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX events_by_task ON events (task, workspace, number);
CREATE INDEX events_by_workspace ON events (workspace);
