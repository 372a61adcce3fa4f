package settings

import (
	"path/filepath"
	"time"
)

// Audit says how events are recorded, archived and made searchable.
type Audit struct {
	// Dir is the local folder of this replica's journal: a volume that survives a
	// restart and that no other replica uses; created. Default
	// /var/lib/sallyport/audit.
	Dir string `yaml:"dir" file:"path"`
	// Origin begins the names of this installation's logs, as in signed
	// checkpoints: letters, digits, dots, dashes and slashes. It can't change while
	// logs go on. Default sallyport/audit.
	Origin string `yaml:"origin"`
	// Writer begins the name of this replica's log. Default: the name of the host.
	Writer string `yaml:"writer"`
	// SigningKeyFiles hold the keys that sign checkpoints; secrets. The first one
	// signs. A key that is replaced stays in the list until the change is
	// announced in every log. Empty: a key is made in Dir, where the archive is a
	// folder.
	SigningKeyFiles []string `yaml:"signing_key_files,one" file:"secret"`
	// TrustedKeys are public keys that verify and prove trust beside those of
	// SigningKeyFiles: of keys that have signed before.
	TrustedKeys []string `yaml:"trusted_keys,one"`
	// JournalMaxBytes is what may wait in Dir to be archived, within [64 MiB, 1
	// TiB]. Default 4294967296.
	JournalMaxBytes int `yaml:"journal_max_bytes"`
	// WhenFull is what happens when nine tenths of that are used: refuse, every
	// request, or read_only, so that reads go on for as long as there is room for
	// their records. Default refuse.
	WhenFull string `yaml:"when_full"`
	// BatchInterval is how long an event waits to be sealed and archived, within
	// [100ms, 1m]. Default 2s.
	BatchInterval time.Duration `yaml:"batch_interval"`
	// HeartbeatInterval is the time between two heartbeats of a log, within [1s,
	// 1h]. Default 1m.
	HeartbeatInterval time.Duration `yaml:"heartbeat_interval"`
	// UnauthenticatedPerSecond is how many denials of one client address before
	// authentication are recorded by themselves; further ones are counted in one
	// event. Within [1, 1000]. Default 5.
	UnauthenticatedPerSecond int `yaml:"unauthenticated_per_second"`
	// Layout is hybrid (batches of everything, and an object for each write,
	// privileged call, denial and act of an administrator), event (an object for
	// each event) or batch. Default hybrid.
	Layout string `yaml:"layout"`
	// ArchiveDir is the archive where S3 is off: a folder with the same layout,
	// which is no WORM storage. Default: the folder archive in Dir.
	ArchiveDir string `yaml:"archive_dir" file:"path"`
	// S3Enabled archives to S3 with Object Lock. Default false.
	S3Enabled bool `yaml:"s3_enabled" env:"AUDIT_S3_ENABLED"`
	// S3Bucket is a bucket with Object Lock and versioning.
	S3Bucket string `yaml:"s3_bucket" env:"AUDIT_S3_BUCKET"`
	// S3Region is the bucket's. Default ap-south-1.
	S3Region string `yaml:"s3_region" env:"AUDIT_S3_REGION"`
	// S3ObjectLockMode is GOVERNANCE, which a role with the right to bypass it can
	// lift, or COMPLIANCE, which nobody can. Default GOVERNANCE.
	S3ObjectLockMode string `yaml:"s3_object_lock_mode" env:"AUDIT_S3_OBJECT_LOCK_MODE"`
	// S3RetentionDays is how long an object is locked, within [1, 36500]. Default
	// 365.
	S3RetentionDays int `yaml:"s3_retention_days" env:"AUDIT_S3_RETENTION_DAYS"`
	// S3Endpoint is the https URL of a server that isn't AWS's. Empty: AWS.
	S3Endpoint string `yaml:"s3_endpoint"`
	// S3PathStyle puts the bucket into the path instead of the host name. Default
	// false.
	S3PathStyle bool `yaml:"s3_path_style"`
	// S3KMSKey is the id or ARN of the key that encrypts objects. Empty: what the
	// bucket says.
	S3KMSKey string `yaml:"s3_kms_key"`
	// S3AccessKeyFile and S3SecretKeyFile hold credentials; secrets; both or none.
	// None: those of the role that the machine or pod has.
	S3AccessKeyFile string `yaml:"s3_access_key_file" file:"secret"`
	S3SecretKeyFile string `yaml:"s3_secret_key_file" file:"secret"`
	// DualWrite also writes events to the database, where they can be searched.
	// Default true.
	DualWrite bool `yaml:"dual_write" env:"AUDIT_DUAL_WRITE"`
	// IndexRetentionDays is how long events can be searched, within [0, 36500]; 0, the
	// default: for as long as nobody removes them. The archive is another matter.
	IndexRetentionDays int `yaml:"index_retention_days"`
	// PseudonymiseUsers records users under random names, and who they are
	// encrypted with a key of their own, so that it can be erased. Default false.
	PseudonymiseUsers bool `yaml:"pseudonymise_users"`
	// SubjectKeyFiles hold the keys that protect the users' keys in the database, 32
	// random bytes in hex; secrets. The first one is used, the others can be read.
	SubjectKeyFiles []string `yaml:"subject_key_files,one" file:"secret"`
}

// Archive is the folder that is the archive where S3 is off.
func (a *Audit) Archive() string {
	if a.ArchiveDir != "" {
		return a.ArchiveDir
	}
	return filepath.Join(a.Dir, "archive")
}

// Database is where events can be searched.
type Database struct {
	// Driver is sqlite, for a single replica, or postgres. Default sqlite.
	Driver string `yaml:"driver"`
	// File is SQLite's; created. Default /var/lib/sallyport/sallyport.db.
	File string `yaml:"file" file:"path"`
	// URL is PostgreSQL's, without a password: postgres://user@host/name. Hosts
	// that aren't on loopback need sslmode=verify-full.
	URL string `yaml:"url"`
	// PasswordFile holds the password; a secret.
	PasswordFile string `yaml:"password_file" file:"secret"`
	// Migrations is apply, so that the schema is brought up to date by whoever starts,
	// or check, for a user who may add events and nothing else: the owner then runs
	// `sallyport audit maintain`. Default apply.
	Migrations string `yaml:"migrations"`
	// MaxConnections bounds the connections of this replica, within [1, 1000].
	// Default 10.
	MaxConnections int `yaml:"max_connections"`
}
