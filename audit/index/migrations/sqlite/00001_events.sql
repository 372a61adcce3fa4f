-- +goose Up
-- One row per event; times are Unix microseconds.
CREATE TABLE audit_index_events (
    log            TEXT NOT NULL,
    seq            INTEGER NOT NULL CHECK (seq >= 0),
    time           INTEGER NOT NULL,
    event_id       TEXT NOT NULL,
    type           TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    user_id        TEXT NOT NULL,
    tool           TEXT NOT NULL,
    action         TEXT NOT NULL,
    status         TEXT NOT NULL,
    reason         TEXT NOT NULL,
    decision_id    TEXT NOT NULL,
    leaf_hash      BLOB NOT NULL CHECK (length(leaf_hash) = 32),
    batch          TEXT NOT NULL,
    payload        BLOB,
    PRIMARY KEY (log, seq)
) STRICT;

CREATE INDEX audit_index_events_time ON audit_index_events (time, log, seq);
CREATE INDEX audit_index_events_event_id ON audit_index_events (event_id);
CREATE INDEX audit_index_events_decision_id ON audit_index_events (decision_id) WHERE decision_id <> '';
CREATE INDEX audit_index_events_correlation_id ON audit_index_events (correlation_id) WHERE correlation_id <> '';
CREATE INDEX audit_index_events_user_id ON audit_index_events (user_id, time) WHERE user_id <> '';
CREATE INDEX audit_index_events_tool ON audit_index_events (tool, time) WHERE tool <> '';

-- What retention removed: no gaps.
CREATE TABLE audit_index_expired (
    log        TEXT NOT NULL,
    first_seq  INTEGER NOT NULL,
    next_seq   INTEGER NOT NULL,
    PRIMARY KEY (log, first_seq)
) STRICT;
