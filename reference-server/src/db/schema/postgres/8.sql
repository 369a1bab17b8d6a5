-- Version 8, as of SQLite, where comments say what the columns are for.

CREATE TABLE sent_forms (
    "user"   TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    number BYTEA NOT NULL CHECK (length(number) = 24),
    fate   TEXT COLLATE "C" NOT NULL CHECK (fate IN ('done', 'forgotten', 'unknown')),
    PRIMARY KEY ("user", number)
);
CREATE INDEX sent_forms_by_age ON sent_forms (number);
