-- +goose Up
-- One row that each change locks and updates: changes are numbered in the order of
-- their commits, and what is bounded is counted.
CREATE TABLE pim_feed (
    id      smallint PRIMARY KEY CHECK (id = 1),
    change  bigint NOT NULL,
    pending bigint NOT NULL,
    live    bigint NOT NULL
);
INSERT INTO pim_feed (id, change, pending, live) VALUES (1, 0, 0, 0);
-- Parties are JSON. Durations are microseconds.
CREATE TABLE pim_requests (
    id            text COLLATE "C" PRIMARY KEY,
    change        bigint NOT NULL UNIQUE,
    kind          text NOT NULL CHECK (kind IN ('elevation', 'call')),
    state         text NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'expired', 'cancelled', 'revoked', 'spent')),
    principal_id  text NOT NULL,
    requester     text NOT NULL,
    server        text NOT NULL,
    tool          text NOT NULL,
    fingerprint   bytea NOT NULL,
    call          text NOT NULL,
    reason        text NOT NULL,
    duration_us   bigint NOT NULL,
    replay_us     bigint NOT NULL,
    break_glass   boolean NOT NULL,
    requested     timestamptz NOT NULL,
    starts        timestamptz,
    until         timestamptz NOT NULL,
    provider      text NOT NULL,
    provider_user text NOT NULL,
    provider_role text NOT NULL,
    provider_ref  text NOT NULL,
    provider_url  text NOT NULL,
    decided       timestamptz,
    decider       text NOT NULL,
    comment       text NOT NULL,
    ended         timestamptz,
    ender         text NOT NULL,
    why           text NOT NULL,
    spent         timestamptz,
    spent_by      text NOT NULL,
    -- Until then it matters to calls; NULL: not any more.
    matters_until timestamptz,
    -- From then on the provider may be asked about it.
    ask_at        timestamptz
);
CREATE INDEX pim_requests_matters ON pim_requests (matters_until) WHERE matters_until IS NOT NULL;
CREATE INDEX pim_requests_holder ON pim_requests (principal_id) WHERE matters_until IS NOT NULL;
CREATE INDEX pim_requests_state ON pim_requests (state, id);
-- What is to be told, until it is told.
CREATE TABLE pim_notices (
    id       text COLLATE "C" PRIMARY KEY,
    endpoint text NOT NULL,
    body     text NOT NULL,
    created  timestamptz NOT NULL,
    due      timestamptz NOT NULL,
    attempts bigint NOT NULL
);
CREATE INDEX pim_notices_due ON pim_notices (due);
