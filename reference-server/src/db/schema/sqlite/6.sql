-- Version 6: who held which generation of a token, and who used it last.

-- Under which name a generation was used, by agent and address: what tells whose a refused use is.
CREATE TABLE token_holders (
    workspace     TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    slot          TEXT NOT NULL,
    generation    INTEGER NOT NULL,
    address       TEXT NOT NULL,
    agent         TEXT NOT NULL,
    agent_version TEXT NOT NULL,
    client        TEXT NOT NULL,
    -- Of the last use.
    version       TEXT NOT NULL,
    last_at       INTEGER NOT NULL,
    PRIMARY KEY (workspace, slot, generation, address, agent, agent_version, client)
) STRICT, WITHOUT ROWID;

-- Two versions of one program are two: each has a row of its own.
ALTER TABLE token_rejections RENAME TO token_rejections_before;
CREATE TABLE token_rejections (
    workspace  TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    slot       TEXT NOT NULL,
    generation INTEGER NOT NULL,
    address    TEXT NOT NULL,
    agent      TEXT NOT NULL,
    version    TEXT NOT NULL,
    times      INTEGER NOT NULL,
    first_at   INTEGER NOT NULL,
    last_at    INTEGER NOT NULL,
    PRIMARY KEY (workspace, slot, generation, address, agent, version)
) STRICT, WITHOUT ROWID;
INSERT INTO token_rejections SELECT * FROM token_rejections_before;
DROP TABLE token_rejections_before;

-- The last use of a generation, of the last two: who used a token is asked when it is dead.
ALTER TABLE token_uses RENAME TO token_uses_before;
CREATE TABLE token_uses (
    workspace  TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    slot       TEXT NOT NULL,
    generation INTEGER NOT NULL,
    -- When which client used it; nothing and empty where all that is known is that somebody was let in.
    at         INTEGER,
    client     TEXT NOT NULL,
    version    TEXT NOT NULL,
    address    TEXT NOT NULL,
    -- When somebody was let in last, as the store of tokens had counted it at the end of the generation.
    counted_at INTEGER,
    PRIMARY KEY (workspace, slot, generation)
) STRICT, WITHOUT ROWID;
INSERT INTO token_uses SELECT *, NULL FROM token_uses_before;
DROP TABLE token_uses_before;

-- The generation with which a client was cut off by a rotation, and whether it was idle then.
ALTER TABLE token_clients ADD COLUMN cut_generation INTEGER;
ALTER TABLE token_clients ADD COLUMN cut_idle INTEGER NOT NULL DEFAULT 0;

-- What owners have looked at: clients that are theirs, and how often an old token had been tried by then.
ALTER TABLE token_clients ADD COLUMN confirmed_at INTEGER;
ALTER TABLE token_rejections ADD COLUMN seen_times INTEGER NOT NULL DEFAULT 0;
