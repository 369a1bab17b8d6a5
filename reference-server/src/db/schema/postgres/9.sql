-- Version 9: what servers tell each other of what they have changed; see `nodes`. Kept for two minutes, and not
-- over a crash of the database: whoever was not there looks for themselves.

CREATE UNLOGGED TABLE announcements (
    number     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    written_in XID8 NOT NULL DEFAULT pg_current_xact_id(),
    at         TIMESTAMPTZ NOT NULL DEFAULT now(),
    node       TEXT COLLATE "C" NOT NULL,
    said       TEXT NOT NULL
);
CREATE INDEX announcements_by_transaction ON announcements (written_in);
CREATE INDEX announcements_by_time ON announcements (at);

-- Who is connected to which server. A row counts as long as its server is alive; each writes its own again and again.
CREATE UNLOGGED TABLE presence (
    node       TEXT COLLATE "C" NOT NULL,
    connection TEXT COLLATE "C" NOT NULL,
    workspace  TEXT COLLATE "C" NOT NULL,
    is_live    BIGINT NOT NULL,
    seen       TEXT NOT NULL,
    PRIMARY KEY (node, connection)
);
CREATE INDEX presence_by_workspace ON presence (workspace);
