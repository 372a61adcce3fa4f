-- +goose Up
-- One row per event. The unique key must hold the partition key; that (log, seq)
-- alone is unique is seen to by Index.Add, which takes one lock per log.
CREATE TABLE audit_index_events (
    log            text COLLATE "C" NOT NULL,
    seq            bigint NOT NULL CHECK (seq >= 0),
    time           timestamptz NOT NULL,
    event_id       text COLLATE "C" NOT NULL,
    type           text COLLATE "C" NOT NULL,
    correlation_id text COLLATE "C" NOT NULL,
    user_id        text COLLATE "C" NOT NULL,
    tool           text COLLATE "C" NOT NULL,
    action         text COLLATE "C" NOT NULL,
    status         text COLLATE "C" NOT NULL,
    reason         text COLLATE "C" NOT NULL,
    decision_id    text COLLATE "C" NOT NULL,
    leaf_hash      bytea NOT NULL CHECK (octet_length(leaf_hash) = 32),
    batch          text COLLATE "C" NOT NULL,
    payload        bytea,
    PRIMARY KEY (log, seq, time)
) PARTITION BY RANGE (time);

-- For times nobody made a partition for, so that nothing is refused.
CREATE TABLE audit_index_events_default PARTITION OF audit_index_events DEFAULT;

CREATE INDEX audit_index_events_time ON audit_index_events (time, log, seq);
CREATE INDEX audit_index_events_event_id ON audit_index_events (event_id);
CREATE INDEX audit_index_events_decision_id ON audit_index_events (decision_id) WHERE decision_id <> '';
CREATE INDEX audit_index_events_correlation_id ON audit_index_events (correlation_id) WHERE correlation_id <> '';
CREATE INDEX audit_index_events_user_id ON audit_index_events (user_id, time) WHERE user_id <> '';
CREATE INDEX audit_index_events_tool ON audit_index_events (tool, time) WHERE tool <> '';

-- What retention removed: no gaps.
CREATE TABLE audit_index_expired (
    log        text COLLATE "C" NOT NULL,
    first_seq  bigint NOT NULL,
    next_seq   bigint NOT NULL,
    PRIMARY KEY (log, first_seq)
);
