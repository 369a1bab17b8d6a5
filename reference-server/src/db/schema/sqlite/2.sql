-- Version 2: people, their logins and what they may do in workspaces, what they know of tokens, and the
-- audit list.
-- What opens anything is here as its hash alone.

CREATE TABLE users (
    id               TEXT PRIMARY KEY,
    name             TEXT NOT NULL COLLATE NOCASE UNIQUE,
    -- A PHC string of argon2id; null until the person has chosen one.
    password         TEXT,
    is_administrator INTEGER NOT NULL DEFAULT 0,
    created_at       INTEGER NOT NULL,
    disabled_at      INTEGER
) STRICT;

CREATE TABLE logins (
    id           TEXT PRIMARY KEY,
    -- SHA-256 of what the cookie holds.
    secret_hash  BLOB NOT NULL UNIQUE,
    user         TEXT NOT NULL REFERENCES users (id),
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    address      TEXT,
    agent        TEXT
) STRICT;

CREATE INDEX logins_by_user ON logins (user);

-- One-time links: for the first administrator, or for a person to choose a password.
CREATE TABLE links (
    secret_hash BLOB PRIMARY KEY,
    purpose     TEXT NOT NULL CHECK (purpose IN ('setup', 'password')),
    user        TEXT REFERENCES users (id),
    expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    workspace TEXT NOT NULL REFERENCES workspaces (id),
    user      TEXT NOT NULL REFERENCES users (id),
    role      TEXT NOT NULL CHECK (role IN ('owner', 'member')),
    since     INTEGER NOT NULL,
    PRIMARY KEY (workspace, user)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_by_user ON members (user);

-- Who was shown the secret of which generation: when they leave, it is to be regenerated.
CREATE TABLE sightings (
    workspace  TEXT NOT NULL,
    slot       TEXT NOT NULL,
    generation INTEGER NOT NULL,
    user       TEXT NOT NULL REFERENCES users (id),
    at         INTEGER NOT NULL,
    PRIMARY KEY (workspace, slot, generation, user)
) STRICT, WITHOUT ROWID;

-- Tokens that are being replaced without a gap.
CREATE TABLE replacements (
    workspace TEXT NOT NULL,
    old       TEXT NOT NULL,
    new       TEXT NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (workspace, old)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    workspace TEXT,
    -- The user, if it was one, and the name at that time; 'command line' and 'agent' are names too.
    user      TEXT,
    actor     TEXT NOT NULL,
    action    TEXT NOT NULL,
    subject   TEXT NOT NULL DEFAULT '',
    detail    TEXT NOT NULL DEFAULT '',
    address   TEXT
) STRICT;

CREATE INDEX audit_by_workspace ON audit (workspace, number);
