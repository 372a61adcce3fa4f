-- Rights to the subjects of the audit trail, for the roles of the index's
-- roles.sql. A writer enters subjects and looks them up, encrypted; only the owner
-- erases. A reader needs the key files to reveal anything.
GRANT SELECT, INSERT ON audit_subjects, audit_subjects_lookup TO sallyport_audit_writer;
GRANT SELECT ON audit_subjects_version TO sallyport_audit_writer;
GRANT SELECT ON audit_subjects, audit_subjects_lookup, audit_subjects_version TO sallyport_audit_reader;
