package archive

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sallyport/sallyport/audit"
)

// CanaryPrefix begins the keys of what Check and Preflight write. Nothing in there
// is evidence.
const CanaryPrefix = "audit-logs/_preflight/"

// canary is an object that exists to be attacked.
type canary struct {
	key, version string
	body         []byte
	until        time.Time
}

// Check reads the bucket's configuration, writes an object, reads its lock back and
// tries to delete that version without asking for a bypass: some servers store
// locks that they don't enforce. It leaves one object of 100 bytes, locked for a
// day, or for the whole retention where the bucket's policy refuses a shorter one.
func (s *S3) Check(ctx context.Context) error {
	if err := s.checkBucket(ctx); err != nil {
		return err
	}
	c, err := s.writeCanary(ctx)
	if err != nil {
		return err
	}
	if err := s.lockedUntil(ctx, c, c.until); err != nil {
		return err
	}
	if err := s.deleteVersion(ctx, c); err != nil && errorStatus(err)/100 != 4 {
		return s.failed("", c.key, err)
	}
	if err := s.readable(ctx, c); errors.Is(err, errLost) {
		return fmt.Errorf("%w: %s deleted a version that it said is locked: %w", ErrNotLocked, s, err)
	} else if err != nil {
		return err
	}
	return nil
}

// checkBucket asks whether versions of the bucket's objects can be locked.
func (s *S3) checkBucket(ctx context.Context) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	lock, err := s.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &s.cfg.Bucket})
	unlocked := fmt.Errorf("%w: bucket %s has no Object Lock: make a bucket with it, or switch it on, and versioning with it", ErrNotLocked, s.cfg.Bucket)
	switch code := errorCode(err); {
	case code == "ObjectLockConfigurationNotFoundError", code == "NoSuchObjectLockConfiguration":
		return unlocked
	case errorStatus(err) == http.StatusNotImplemented:
		return fmt.Errorf("%w: the server of bucket %s knows no Object Lock: %w", ErrNotLocked, s.cfg.Bucket, err)
	case err != nil:
		return s.failed("s3:GetBucketObjectLockConfiguration", "", err)
	case lock.ObjectLockConfiguration == nil || lock.ObjectLockConfiguration.ObjectLockEnabled != types.ObjectLockEnabledEnabled:
		return unlocked
	}
	versioning, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &s.cfg.Bucket})
	if err != nil {
		return s.failed("s3:GetBucketVersioning", "", err)
	}
	if versioning.Status != types.BucketVersioningStatusEnabled {
		return fmt.Errorf("%w: bucket %s keeps no versions: switch versioning on", ErrNotLocked, s.cfg.Bucket)
	}
	return nil
}

// writeCanary writes a new one, locked for a day if that is allowed.
func (s *S3) writeCanary(ctx context.Context) (canary, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	id := audit.NewID(s.now())
	c := canary{key: CanaryPrefix + id, body: []byte(`{"canary":"` + id + `","why":"to find out whether this object can be deleted"}`)}
	object := Object{Key: c.key, Body: c.body, ContentType: "application/json"}
	retention := minRetention
	version, err := s.put(ctx, object, retention)
	if errorStatus(err) == http.StatusForbidden && !unknownCaller(err) {
		retention = s.cfg.Retention
		version, err = s.put(ctx, object, retention)
	}
	if err != nil {
		return canary{}, err
	}
	if version == "" {
		return canary{}, fmt.Errorf("%w: the server of bucket %s gave %s no version", ErrNotLocked, s.cfg.Bucket, c.key)
	}
	c.version, c.until = version, s.now().Add(retention)
	return c, nil
}

// lockedUntil returns ErrNotLocked if the canary isn't locked as it was asked for,
// to that time at least.
func (s *S3) lockedUntil(ctx context.Context, c canary, until time.Time) error {
	lock, err := s.Lock(ctx, c.key, c.version)
	if err == nil && (lock.Mode != s.cfg.Mode || lock.RetainUntil.Before(until)) {
		err = fmt.Errorf("%w: %s was to be locked in mode %s until %v, and is in mode %q until %v",
			ErrNotLocked, c.key, s.cfg.Mode, until.UTC(), lock.Mode, lock.RetainUntil)
	}
	return err
}

// deleteVersion tries to, as a role without special rights would.
func (s *S3) deleteVersion(ctx context.Context, c canary) error { return s.tryDelete(ctx, c, false) }

// deleteVersionBypassing tries to, with the right to bypass governance.
func (s *S3) deleteVersionBypassing(ctx context.Context, c canary) error {
	return s.tryDelete(ctx, c, true)
}

func (s *S3) tryDelete(ctx context.Context, c canary, bypass bool) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{
		Bucket: &s.cfg.Bucket, Key: &c.key, VersionId: &c.version, BypassGovernanceRetention: optionalTrue(bypass),
	})
	return err
}

func optionalTrue(b bool) *bool {
	if !b {
		return nil
	}
	return aws.Bool(true)
}

// errLost: a version that was locked isn't there any more, or has other bytes.
var errLost = errors.New("the version is lost")

// readable returns errLost unless the canary's version is what was written.
func (s *S3) readable(ctx context.Context, c canary) error {
	held, err := s.Get(ctx, c.key, c.version)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && string(held) != string(c.body):
		return fmt.Errorf("%w: %s, version %s", errLost, c.key, c.version)
	case err != nil:
		return err
	}
	return nil
}
