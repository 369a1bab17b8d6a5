-- Version 4: what tokens are used for. Written in batches, a little later than it happens, and
-- bounded in rows; see `activity`. Times are milliseconds since 1970; an address is '' if unknown.

-- The last use of each slot: of that generation, by that client, from there.
CREATE TABLE token_uses (
    workspace  TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    slot       TEXT NOT NULL,
    generation INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    client     TEXT NOT NULL,
    version    TEXT NOT NULL,
    address    TEXT NOT NULL,
    PRIMARY KEY (workspace, slot)
) STRICT, WITHOUT ROWID;

-- From where, and by which client, each slot was ever used. `agent` is what the client calls itself
-- in HTTP, which is all that is known of it when its token is refused.
CREATE TABLE token_clients (
    workspace  TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    slot       TEXT NOT NULL,
    client     TEXT NOT NULL,
    address    TEXT NOT NULL,
    agent      TEXT NOT NULL,
    version    TEXT NOT NULL,
    -- Of the last use.
    generation INTEGER NOT NULL,
    first_at   INTEGER NOT NULL,
    last_at    INTEGER NOT NULL,
    PRIMARY KEY (workspace, slot, client, address)
) STRICT, WITHOUT ROWID;

-- Uses of tokens that were genuine once and were refused.
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
    PRIMARY KEY (workspace, slot, generation, address, agent)
) STRICT, WITHOUT ROWID;

-- Calls and refused requests per hour; `hour` is hours since 1970.
CREATE TABLE activity_hours (
    workspace  TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    hour       INTEGER NOT NULL,
    calls      INTEGER NOT NULL,
    rejections INTEGER NOT NULL,
    PRIMARY KEY (workspace, hour)
) STRICT, WITHOUT ROWID;
