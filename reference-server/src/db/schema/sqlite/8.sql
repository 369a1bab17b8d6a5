-- Version 8: forms that were sent, so that each works once, whichever server it is sent to.

CREATE TABLE sent_forms (
    user   TEXT NOT NULL REFERENCES users (id),
    -- When the form was given, in milliseconds since 1970 and big-endian, and 16 random bytes: the order of
    -- numbers is that of time.
    number BLOB NOT NULL CHECK (length(number) = 24),
    -- Of what is forgotten, the last number of each user is kept: it and all before it are refused.
    fate   TEXT NOT NULL CHECK (fate IN ('done', 'forgotten', 'unknown')),
    PRIMARY KEY (user, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX sent_forms_by_age ON sent_forms (number);
