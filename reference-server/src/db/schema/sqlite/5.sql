-- Version 5: workspaces that change hands.

CREATE TABLE transfers (
    workspace   TEXT PRIMARY KEY REFERENCES workspaces (id) ON DELETE CASCADE,
    -- Who offers it, and to whom.
    offered_by  TEXT NOT NULL REFERENCES users (id),
    offered_to  TEXT NOT NULL REFERENCES users (id),
    offered_at  INTEGER NOT NULL,
    -- Since when it has changed hands, while its tokens are being regenerated; a start of the server
    -- goes on where that was interrupted.
    accepted_at INTEGER
) STRICT, WITHOUT ROWID;
