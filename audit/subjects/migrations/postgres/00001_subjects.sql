-- +goose Up
-- What lookups are keyed by, encrypted under a key of the key files.
CREATE TABLE audit_subjects_lookup (
    id      smallint PRIMARY KEY CHECK (id = 1),
    wrapped bytea NOT NULL
);
-- One row per pseudonym. Of an erased one the pseudonym and the time are left.
CREATE TABLE audit_subjects (
    pseudonym text COLLATE "C" PRIMARY KEY,
    lookup    bytea UNIQUE,
    wrapped   bytea,
    erased_at timestamptz,
    CHECK ((erased_at IS NULL) = (lookup IS NOT NULL) AND (erased_at IS NULL) = (wrapped IS NOT NULL))
);
