-- +goose Up
-- What lookups are keyed by, encrypted under a key of the key files.
CREATE TABLE audit_subjects_lookup (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    wrapped BLOB NOT NULL
) STRICT;
-- One row per pseudonym. Of an erased one the pseudonym and the time are left.
CREATE TABLE audit_subjects (
    pseudonym TEXT PRIMARY KEY,
    lookup    BLOB UNIQUE,
    wrapped   BLOB,
    erased_at INTEGER,
    CHECK ((erased_at IS NULL) = (lookup IS NOT NULL) AND (erased_at IS NULL) = (wrapped IS NOT NULL))
) STRICT;
