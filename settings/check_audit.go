package settings

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"time"
)

var (
	logPattern       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*(/[A-Za-z0-9][A-Za-z0-9.-]*)*$`)
	writerPattern    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,47}$`)
	bucketPattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	publicKeyPattern = regexp.MustCompile(`^[^+\s]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+$`)
	regionPattern    = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
	kmsPattern       = regexp.MustCompile(`^[A-Za-z0-9:/_-]{1,512}$`)
)

// maxAuditDir leaves room for the name of the socket in the 107 bytes that Linux
// takes.
const maxAuditDir = 95

func (r *report) checkAudit(cfg *Config) {
	a := &cfg.Audit
	r.required("audit.dir", a.Dir, "the folder of the journal")
	if len(a.Dir) > maxAuditDir {
		r.refuse("audit.dir", "has more than %d bytes, and a Unix socket in it would have too long a name", maxAuditDir)
	}
	if len(a.Origin) > 128 || !logPattern.MatchString(a.Origin) {
		r.refuse("audit.origin", "must be letters, digits, dots and dashes between slashes, such as sallyport.example.com/audit, not %q", clip(a.Origin))
	}
	if a.Writer != "" && !writerPattern.MatchString(a.Writer) {
		r.refuse("audit.writer", "must be 1 to 48 letters, digits, dots and dashes, not %q", clip(a.Writer))
	}
	r.unique("audit.signing_key_files", a.SigningKeyFiles)
	r.unique("audit.trusted_keys", a.TrustedKeys)
	for i, key := range a.TrustedKeys {
		if !publicKeyPattern.MatchString(key) {
			r.refuse(fmt.Sprintf("audit.trusted_keys[%d]", i), "must be a public key as `sallyport audit key public` shows it, not %q", clip(key))
		}
	}
	within(r, "audit.journal_max_bytes", a.JournalMaxBytes, 64<<20, 1<<40)
	r.oneOf("audit.when_full", a.WhenFull, "refuse", "read_only")
	within(r, "audit.batch_interval", a.BatchInterval, 100*time.Millisecond, time.Minute)
	within(r, "audit.heartbeat_interval", a.HeartbeatInterval, time.Second, time.Hour)
	within(r, "audit.unauthenticated_per_second", a.UnauthenticatedPerSecond, 1, 1000)
	r.oneOf("audit.layout", a.Layout, "hybrid", "event", "batch")
	within(r, "audit.index_retention_days", a.IndexRetentionDays, 0, 36500)
	r.checkS3(a)
	r.unique("audit.subject_key_files", a.SubjectKeyFiles)
	switch {
	case a.PseudonymiseUsers && len(a.SubjectKeyFiles) == 0:
		r.refuse("audit.subject_key_files", "is missing: pseudonymise_users needs it; write 32 random bytes in hex to a file below secrets_dir, such as by `openssl rand -hex 32`")
	case !a.PseudonymiseUsers && len(a.SubjectKeyFiles) > 0:
		r.refuse("audit.subject_key_files", "does nothing without pseudonymise_users: set it, or remove this")
	}
}

func (r *report) checkS3(a *Audit) {
	r.oneOf("audit.s3_object_lock_mode", a.S3ObjectLockMode, "GOVERNANCE", "COMPLIANCE")
	within(r, "audit.s3_retention_days", a.S3RetentionDays, 1, 36500)
	if !regionPattern.MatchString(a.S3Region) {
		r.refuse("audit.s3_region", "must be a region such as ap-south-1, not %q", clip(a.S3Region))
	}
	if !a.S3Enabled {
		for _, f := range []struct{ key, value string }{
			{"s3_bucket", a.S3Bucket}, {"s3_endpoint", a.S3Endpoint}, {"s3_kms_key", a.S3KMSKey},
			{"s3_access_key_file", a.S3AccessKeyFile}, {"s3_secret_key_file", a.S3SecretKeyFile},
		} {
			if f.value != "" {
				r.refuse("audit."+f.key, "does nothing without audit.s3_enabled: set it, or remove this")
			}
		}
		return
	}
	if !bucketPattern.MatchString(a.S3Bucket) {
		r.refuse("audit.s3_bucket", "must be the name of a bucket with Object Lock, not %q", clip(a.S3Bucket))
	}
	if a.ArchiveDir != "" {
		r.refuse("audit.archive_dir", "conflicts with s3_enabled: remove one of them")
	}
	if len(a.SigningKeyFiles) == 0 {
		r.refuse("audit.signing_key_files", "is missing: make a key with `sallyport audit key generate`, and keep its public half where the archive's administrators can't change it")
	}
	if (a.S3AccessKeyFile == "") != (a.S3SecretKeyFile == "") {
		r.refuse("audit.s3_secret_key_file", "and s3_access_key_file belong together")
	}
	if a.S3KMSKey != "" && !kmsPattern.MatchString(a.S3KMSKey) {
		r.refuse("audit.s3_kms_key", "must be the id or ARN of a key, not %q", clip(a.S3KMSKey))
	}
	if a.S3Endpoint != "" {
		r.checkEndpoint("audit.s3_endpoint", a.S3Endpoint)
	}
}

// checkEndpoint wants https, beyond loopback.
func (r *report) checkEndpoint(path, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		r.refuse(path, "must be a URL such as https://s3.example.com, not %q", clip(text))
		return
	}
	ip, err := netip.ParseAddr(u.Hostname())
	loopback := err == nil && ip.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		r.refuse(path, "must begin with https://: records are sent there")
	}
}

func (r *report) checkDatabase(cfg *Config) {
	d := &cfg.Database
	r.oneOf("database.driver", d.Driver, "sqlite", "postgres")
	r.oneOf("database.migrations", d.Migrations, "apply", "check")
	within(r, "database.max_connections", d.MaxConnections, 1, 1000)
	if d.Driver != "postgres" {
		r.required("database.file", d.File, "SQLite's file")
		if d.Migrations == "check" {
			r.refuse("database.migrations", "check is for users of PostgreSQL: remove it")
		}
		for _, f := range []struct{ key, value string }{{"url", d.URL}, {"password_file", d.PasswordFile}} {
			if f.value != "" {
				r.refuse("database."+f.key, "does nothing without `driver: postgres`: set it, or remove this")
			}
		}
		return
	}
	u, err := url.Parse(d.URL)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || len(u.Path) < 2 {
		r.refuse("database.url", "must be a URL such as postgres://sallyport@db.example.com/sallyport?sslmode=verify-full")
		return
	}
	if password, _ := u.User.Password(); password != "" {
		r.refuse("database.url", "holds a password: write it to password_file, below secrets_dir")
		return
	}
	if mode := u.Query().Get("sslmode"); !localHost(u) && mode != "verify-full" {
		r.refuse("database.url", "the host is not loopback: add sslmode=verify-full")
	}
}

// localHost reports whether a database is reached without leaving the machine: by
// loopback, or by a Unix socket, whose folder is the query's host.
func localHost(u *url.URL) bool {
	host := u.Hostname()
	if host == "" {
		host = u.Query().Get("host")
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		return host == "" || host[0] == '/'
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
