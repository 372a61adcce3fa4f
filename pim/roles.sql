-- Rights of a user of PostgreSQL who may not change the schema ("migrations: check"):
-- run this as the owner after the migrations, and grant the role to the gateway's user.
CREATE ROLE sallyport_pim NOLOGIN;
GRANT SELECT, UPDATE ON pim_feed TO sallyport_pim;
GRANT SELECT, INSERT, UPDATE, DELETE ON pim_requests, pim_notices TO sallyport_pim;
GRANT SELECT ON pim_version TO sallyport_pim;
