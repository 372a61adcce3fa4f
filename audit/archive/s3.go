package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// The modes of Object Lock.
const (
	Governance = "GOVERNANCE" // a role with s3:BypassGovernanceRetention can delete
	Compliance = "COMPLIANCE" // nobody can
)

// S3Config says where a bucket is and how what is written to it is locked.
type S3Config struct {
	Bucket   string
	Region   string // empty: what AWS' own settings say
	Endpoint string // URL; empty: AWS
	// PathStyle puts the bucket into the path of URLs and not into their host.
	PathStyle bool
	// Mode is Governance or Compliance.
	Mode string
	// Retention is how long an object is locked, from 24h up. An hour is added, so
	// that clocks may differ.
	Retention time.Duration
	// KMSKey encrypts objects: the id or ARN of a key; empty: what the bucket says.
	KMSKey string
	// AccessKeyFile and SecretKeyFile hold one line each, and are read for each
	// request. Without them AWS' default chain finds credentials: environment,
	// shared files, web identity, and the role of a container or a machine.
	AccessKeyFile, SecretKeyFile string
}

const (
	defaultTimeout = 30 * time.Second // of each operation, with its retries
	retentionSlack = time.Hour
	minRetention   = 24 * time.Hour
	maxRetention   = 36_500 * 24 * time.Hour // what S3 takes as a bucket's default
)

// Validate reports everything that is wrong with the configuration.
func (c S3Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Bucket != "", "bucket: missing")
	check(c.Mode == Governance || c.Mode == Compliance, "mode: %q is neither %s nor %s", c.Mode, Governance, Compliance)
	check(c.Retention >= minRetention && c.Retention <= maxRetention, "retention: %v is not within [24h, 876000h]", c.Retention)
	check((c.AccessKeyFile == "") == (c.SecretKeyFile == ""), "access key file, secret key file: want both or neither")
	if c.Endpoint != "" {
		endpoint, err := url.Parse(c.Endpoint)
		check(err == nil && (endpoint.Scheme == "http" || endpoint.Scheme == "https") && endpoint.Host != "" && endpoint.User == nil,
			"endpoint: want an http or https URL without user")
	}
	return errors.Join(errs...)
}

// S3 keeps objects in a bucket, each locked by itself: it doesn't rely on the
// bucket's default retention, which somebody can change.
type S3 struct {
	cfg    S3Config
	client *s3.Client
	now    func() time.Time
	skew   atomic.Int64 // nanoseconds

	timeout time.Duration // of each operation
}

// NewS3 asks neither S3 nor, unless it must find the region, anybody else.
func NewS3(ctx context.Context, cfg S3Config, now func() time.Time) (*S3, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("s3 archive: %w", err)
	}
	s := &S3{cfg: cfg, now: now, timeout: defaultTimeout}
	ctx, cancel := s.limited(ctx)
	defer cancel()
	shared, err := config.LoadDefaultConfig(ctx, config.WithRegion(cfg.Region))
	if err != nil {
		return nil, fmt.Errorf("s3 archive: %w", err)
	}
	if shared.Region == "" {
		return nil, errors.New("s3 archive: region: missing, and AWS' own settings name none")
	}
	files := keyFiles{access: cfg.AccessKeyFile, secret: cfg.SecretKeyFile}
	if cfg.AccessKeyFile != "" {
		if _, err := files.Retrieve(ctx); err != nil {
			return nil, fmt.Errorf("s3 archive: %w", err)
		}
	}
	s.client = s3.NewFromConfig(shared, func(o *s3.Options) {
		o.UsePathStyle = cfg.PathStyle
		if cfg.Endpoint != "" {
			o.BaseEndpoint = &cfg.Endpoint
		}
		if cfg.AccessKeyFile != "" {
			o.Credentials = files
		}
		o.HTTPClient = dated{client: o.HTTPClient, store: s}
		o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) { r.MaxAttempts, r.MaxBackoff = 4, 2*time.Second })
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired // see Get
	})
	return s, nil
}

// dated notes what the server's clock says.
type dated struct {
	client s3.HTTPClient
	store  *S3
}

func (d dated) Do(request *http.Request) (*http.Response, error) {
	response, err := d.client.Do(request)
	if err != nil {
		return response, err
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		d.store.skew.Store(int64(date.Sub(d.store.now())))
	}
	return response, nil
}

// MaxSkew is how far clocks may be apart. Beyond it, times in the archive and the
// ends of retentions are not what they seem.
const MaxSkew = time.Minute

// Skew is how far the server's clock was ahead of ours in its last answer, to a
// second or so; 0 before the first. More than MaxSkew, either way, is worth an
// alarm.
func (s *S3) Skew() time.Duration { return time.Duration(s.skew.Load()) }

// WORM returns true.
func (s *S3) WORM() bool { return true }

// String is the bucket's name as a URL.
func (s *S3) String() string { return "s3://" + s.cfg.Bucket }

func (s *S3) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

// Put locks the object from the moment it exists. Where a delete marker hides the
// key's versions, some servers refuse (ErrConflict) and some, AWS among them, add a
// version; Versions shows both.
func (s *S3) Put(ctx context.Context, object Object) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	_, err := s.put(ctx, object, s.cfg.Retention)
	return err
}

// put returns the new version; empty if the key held the same bytes.
func (s *S3) put(ctx context.Context, object Object, retention time.Duration) (version string, err error) {
	if err := checkObject(object); err != nil {
		return "", err
	}
	sum := sha256.Sum256(object.Body)
	const tries = 3
	for try := 1; ; try++ {
		out, err := s.client.PutObject(ctx, s.putInput(object, sum, retention))
		if err == nil {
			return aws.ToString(out.VersionId), nil
		}
		switch code := errorCode(err); {
		case code == "PreconditionFailed", code == "ConditionalRequestConflict":
			err = s.same(ctx, object.Key, sum)
		case code == "InvalidRequest" && missingLock(err):
			return "", fmt.Errorf("%w: bucket %s has no Object Lock: %w", ErrNotLocked, s.cfg.Bucket, err)
		default:
			return "", s.failed("s3:PutObject", object.Key, err)
		}
		// Not found: another writer is about to finish, or to fail.
		if !errors.Is(err, ErrNotFound) {
			return "", err
		}
		if try == tries {
			return "", s.refused(ctx, object.Key)
		}
	}
}

func (s *S3) putInput(object Object, sum [sha256.Size]byte, retention time.Duration) *s3.PutObjectInput {
	metadata := maps.Clone(object.Metadata)
	if metadata == nil {
		metadata = make(map[string]string, 1)
	}
	metadata["checksum"] = hex.EncodeToString(sum[:])
	input := &s3.PutObjectInput{
		Bucket: &s.cfg.Bucket, Key: &object.Key, Body: bytes.NewReader(object.Body), Metadata: metadata,
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
		IfNoneMatch:               aws.String("*"),
		ObjectLockMode:            types.ObjectLockMode(s.cfg.Mode),
		ObjectLockRetainUntilDate: s.retainUntil(retention),
	}
	if object.ContentType != "" {
		input.ContentType = &object.ContentType
	}
	if s.cfg.KMSKey != "" {
		input.ServerSideEncryption, input.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, &s.cfg.KMSKey
		input.BucketKeyEnabled = aws.Bool(true) // one request to KMS for many objects
	}
	return input
}

// same returns nil if the key's current version has these bytes and is locked: an
// earlier try wrote it, whose answer got lost.
func (s *S3) same(ctx context.Context, key string, sum [sha256.Size]byte) error {
	head, err := s.head(ctx, key, "")
	if err != nil {
		return err
	}
	body, err := s.Get(ctx, key, aws.ToString(head.VersionId)) // what the server noted may be of other bytes
	if err != nil {
		return err
	}
	if held := sha256.Sum256(body); held != sum {
		return fmt.Errorf("%w: %s has SHA-256 %x in version %s, not %x", ErrConflict, key, held, aws.ToString(head.VersionId), sum)
	}
	return s.lock(ctx, key, aws.ToString(head.VersionId))
}

// lock locks a version that holds what it should, if it isn't locked: a server that
// isn't atomic may have crashed between storing and locking it.
func (s *S3) lock(ctx context.Context, key, version string) error {
	lock, err := s.Lock(ctx, key, version)
	if err != nil && !errors.Is(err, ErrNotLocked) || lock.RetainUntil.After(s.now()) {
		return err
	}
	_, err = s.client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
		Bucket: &s.cfg.Bucket, Key: &key, VersionId: optional(version),
		Retention: &types.ObjectLockRetention{
			Mode: types.ObjectLockRetentionMode(s.cfg.Mode), RetainUntilDate: s.retainUntil(s.cfg.Retention),
		},
	})
	if errorStatus(err)/100 == 4 {
		return fmt.Errorf("%w, and can't be: %w", ErrNotLocked, s.failed("s3:PutObjectRetention", key, err))
	}
	if err != nil {
		return s.failed("", key, err)
	}
	_, err = s.Lock(ctx, key, version)
	return err
}

// retainUntil is when a retention ends that begins now. Servers keep whole seconds.
func (s *S3) retainUntil(retention time.Duration) *time.Time {
	return aws.Time(s.now().UTC().Add(retention + retentionSlack).Truncate(time.Second))
}

// refused says why a key without a current version can't be written.
func (s *S3) refused(ctx context.Context, key string) error {
	for v, err := range s.Versions(ctx, key, "") {
		switch {
		case err != nil:
			return err
		case v.Key == key && v.Latest && v.DeleteMarker:
			return fmt.Errorf("%w: %s: a delete marker hides what it held", ErrConflict, key)
		}
		break // its versions would be the first
	}
	return fmt.Errorf("%s/%s: S3 says that the key is in use, and shows nothing there", s, key)
}
