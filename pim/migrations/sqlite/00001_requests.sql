-- +goose Up
-- One row that each change locks and updates: changes are numbered in the order of
-- their commits, and what is bounded is counted.
CREATE TABLE pim_feed (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    change  INTEGER NOT NULL,
    pending INTEGER NOT NULL,
    live    INTEGER NOT NULL
) STRICT;
INSERT INTO pim_feed (id, change, pending, live) VALUES (1, 0, 0, 0);
-- Parties are JSON. Durations are microseconds, times Unix microseconds.
CREATE TABLE pim_requests (
    id            TEXT PRIMARY KEY,
    change        INTEGER NOT NULL UNIQUE,
    kind          TEXT NOT NULL CHECK (kind IN ('elevation', 'call')),
    state         TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'expired', 'cancelled', 'revoked', 'spent')),
    principal_id  TEXT NOT NULL,
    requester     TEXT NOT NULL,
    server        TEXT NOT NULL,
    tool          TEXT NOT NULL,
    fingerprint   BLOB NOT NULL,
    call          TEXT NOT NULL,
    reason        TEXT NOT NULL,
    duration_us   INTEGER NOT NULL,
    replay_us     INTEGER NOT NULL,
    break_glass   INTEGER NOT NULL,
    requested     INTEGER NOT NULL,
    starts        INTEGER,
    until         INTEGER NOT NULL,
    provider      TEXT NOT NULL,
    provider_user TEXT NOT NULL,
    provider_role TEXT NOT NULL,
    provider_ref  TEXT NOT NULL,
    provider_url  TEXT NOT NULL,
    decided       INTEGER,
    decider       TEXT NOT NULL,
    comment       TEXT NOT NULL,
    ended         INTEGER,
    ender         TEXT NOT NULL,
    why           TEXT NOT NULL,
    spent         INTEGER,
    spent_by      TEXT NOT NULL,
    -- Until then it matters to calls; NULL: not any more.
    matters_until INTEGER,
    -- From then on the provider may be asked about it.
    ask_at        INTEGER
) STRICT;
CREATE INDEX pim_requests_matters ON pim_requests (matters_until) WHERE matters_until IS NOT NULL;
CREATE INDEX pim_requests_holder ON pim_requests (principal_id) WHERE matters_until IS NOT NULL;
CREATE INDEX pim_requests_state ON pim_requests (state, id);
-- What is to be told, until it is told.
CREATE TABLE pim_notices (
    id       TEXT PRIMARY KEY,
    endpoint TEXT NOT NULL,
    body     TEXT NOT NULL,
    created  INTEGER NOT NULL,
    due      INTEGER NOT NULL,
    attempts INTEGER NOT NULL
) STRICT;
CREATE INDEX pim_notices_due ON pim_notices (due);
