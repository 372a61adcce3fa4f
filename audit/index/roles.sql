-- Roles for PostgreSQL, to be run once by the owner of the tables (or by who may
-- create roles) after the first migration: psql -f roles.sql. Then make users and
-- put them in a role:
--
--   CREATE ROLE gateway LOGIN PASSWORD '…' IN ROLE sallyport_audit_writer;
--   CREATE ROLE auditor LOGIN PASSWORD '…' IN ROLE sallyport_audit_reader;
--
-- The gateway then runs with `database.migrations: check`; migrations, partitions and
-- retention (`sallyport audit maintain`), rebuilds and erasures are the owner's.
CREATE ROLE sallyport_audit_writer NOLOGIN;
CREATE ROLE sallyport_audit_reader NOLOGIN;

-- A writer adds events and sees of them where they belong and what they are
-- compared by: no payload, no user. It can change and delete nothing.
GRANT INSERT, SELECT (log, seq, time, leaf_hash) ON audit_index_events TO sallyport_audit_writer;
GRANT SELECT ON audit_index_version, audit_index_expired TO sallyport_audit_writer;

GRANT SELECT ON audit_index_events, audit_index_version, audit_index_expired TO sallyport_audit_reader;
