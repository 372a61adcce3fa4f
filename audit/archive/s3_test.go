package archive_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/internal/testenv"
)

// s3Server is one server for many tests, each with a bucket of its own.
type s3Server struct {
	*testenv.S3
	buckets atomic.Int64
}

// writerActions is all that an archive asks of its role.
var writerActions = []string{
	"s3:PutObject", "s3:PutObjectRetention", "s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention", "s3:GetObjectLegalHold",
	"s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration",
}

const writer, breaker = "writer", "breaker"

func startS3(t *testing.T) *s3Server {
	t.Helper()
	return &s3Server{S3: testenv.S3For(t, testenv.S3Options{Users: []string{writer, breaker}})}
}

// bucket makes one that the writer may use; breaker may do more with it.
func (s *s3Server) bucket(t *testing.T, locked bool, more ...string) string {
	t.Helper()
	name := fmt.Sprintf("archive-%d", s.buckets.Add(1))
	if err := s.CreateBucket(t.Context(), name, locked); err != nil {
		t.Fatal(err)
	}
	allowed := map[string][]string{writer: writerActions}
	if len(more) > 0 {
		allowed[breaker] = append(more, writerActions...)
	}
	if err := s.Allow(t.Context(), name, allowed); err != nil {
		t.Fatal(err)
	}
	return name
}

// config is that of a user of a bucket; change may change it.
func (s *s3Server) config(t *testing.T, bucket, user string) archive.S3Config {
	t.Helper()
	dir := t.TempDir()
	cfg := archive.S3Config{
		Bucket: bucket, Region: testenv.S3Region, Endpoint: s.Endpoint(), PathStyle: true,
		Mode: archive.Compliance, Retention: 365 * 24 * time.Hour,
		AccessKeyFile: filepath.Join(dir, "access"), SecretKeyFile: filepath.Join(dir, "secret"),
	}
	writeFile(t, cfg.AccessKeyFile, user+"\n")
	writeFile(t, cfg.SecretKeyFile, testenv.S3Secret(user)+"\n")
	return cfg
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newS3(t *testing.T, cfg archive.S3Config) *archive.S3 {
	t.Helper()
	store, err := archive.NewS3(t.Context(), cfg, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// open makes an archive in a bucket of its own.
func (s *s3Server) open(t *testing.T) opened {
	t.Helper()
	bucket := s.bucket(t, true)
	return opened{newS3(t, s.config(t, bucket, writer)), func(t *testing.T, key string, body []byte) {
		t.Helper()
		s.overwrite(t, bucket, key, body)
	}}
}

// overwrite puts a version without a lock, as the owner of the bucket.
func (s *s3Server) overwrite(t *testing.T, bucket, key string, body []byte) {
	t.Helper()
	_, err := s.Client(testenv.S3Root).PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String(key), Body: bytes.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
}

// TestS3Locks shows that what Put writes is locked as it says, and stays so.
func TestS3Locks(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	for _, mode := range []string{archive.Governance, archive.Compliance} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			bucket := server.bucket(t, true, "s3:DeleteObject", "s3:DeleteObjectVersion")
			cfg := server.config(t, bucket, writer)
			cfg.Mode = mode
			store := newS3(t, cfg)
			before := time.Now()
			put(t, store, object("a/b", "first"))
			versions := list(t, store, "", "")
			if len(versions) != 1 || versions[0].ID == "" {
				t.Fatalf("versions: %+v", versions)
			}
			first := versions[0].ID

			lock, err := store.Lock(t.Context(), "a/b", first)
			earliest := before.Add(cfg.Retention + time.Hour).Truncate(time.Second)
			if err != nil || lock.Mode != mode || lock.RetainUntil.Before(earliest) || lock.RetainUntil.After(earliest.Add(time.Minute)) || lock.LegalHold {
				t.Errorf("lock: %+v (%v), want %s until %v or a moment later", lock, err, mode, earliest)
			}
			cannotDelete(t, server.Client(breaker), bucket, "a/b", first)
			cannotShorten(t, server.Client(breaker), bucket, "a/b", first, mode)

			server.overwrite(t, bucket, "a/b", []byte("second"))
			if got, err := store.Get(t.Context(), "a/b", first); err != nil || string(got) != "first" {
				t.Errorf("the first version: %q (%v)", got, err)
			}
			versions = list(t, store, "", "")
			if len(versions) != 2 || !versions[0].Latest || versions[1].Latest || versions[1].ID != first {
				t.Errorf("versions: %+v", versions)
			}
			if err := store.Put(t.Context(), object("a/b", "first")); !errors.Is(err, archive.ErrConflict) {
				t.Errorf("put what an overwritten version holds: %v", err)
			}
			if after, err := store.Lock(t.Context(), "a/b", first); err != nil || after != lock {
				t.Errorf("lock after all that: %+v (%v), was %+v", after, err, lock)
			}
			if _, err := store.Lock(t.Context(), "a/b", versions[0].ID); !errors.Is(err, archive.ErrNotLocked) {
				t.Errorf("lock of what somebody put without: %v", err)
			}
		})
	}
}

// cannotDelete fails if a user without the right to bypass governance can delete a
// version, asking for a bypass or not.
func cannotDelete(t *testing.T, client *s3.Client, bucket, key, version string) {
	t.Helper()
	for _, bypass := range []bool{false, true} {
		_, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{
			Bucket: &bucket, Key: &key, VersionId: &version, BypassGovernanceRetention: &bypass,
		})
		if err == nil {
			t.Errorf("deleted %s, bypass %v", key, bypass)
		}
	}
}

func cannotShorten(t *testing.T, client *s3.Client, bucket, key, version, mode string) {
	t.Helper()
	for _, bypass := range []bool{false, true} {
		_, err := client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
			Bucket: &bucket, Key: &key, VersionId: &version, BypassGovernanceRetention: &bypass,
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionMode(mode), RetainUntilDate: aws.Time(time.Now().Add(time.Hour))},
		})
		if err == nil {
			t.Errorf("shortened %s, bypass %v", key, bypass)
		}
	}
}

func TestS3Check(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	unreachable, err := testenv.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		bucket string
		change func(*archive.S3Config)
		want   error  // nil with an empty text: no error
		text   string // of the error
	}{
		"governance": {bucket: server.bucket(t, true), change: func(c *archive.S3Config) { c.Mode = archive.Governance }},
		"compliance": {bucket: server.bucket(t, true)},
		// One that the writer may delete from is locked all the same.
		"right to delete": {bucket: server.bucket(t, true, "s3:DeleteObjectVersion"), change: func(c *archive.S3Config) {
			writeFile(t, c.AccessKeyFile, breaker)
			writeFile(t, c.SecretKeyFile, testenv.S3Secret(breaker))
		}},
		"no lock":   {bucket: server.bucket(t, false), want: archive.ErrNotLocked, text: "has no Object Lock"},
		"no bucket": {bucket: "nobody-made-it", text: "NoSuchBucket"},
		"unreachable": {bucket: server.bucket(t, true), text: "connection refused", change: func(c *archive.S3Config) {
			c.Endpoint = fmt.Sprintf("http://127.0.0.1:%d", unreachable)
		}},
		"unknown user": {bucket: server.bucket(t, true), text: "doesn't accept the credentials", change: func(c *archive.S3Config) {
			writeFile(t, c.AccessKeyFile, "nobody")
		}},
		"wrong secret": {bucket: server.bucket(t, true), text: "doesn't accept the credentials", change: func(c *archive.S3Config) {
			writeFile(t, c.SecretKeyFile, "wrong")
		}},
		"no rights": {bucket: server.bucket(t, true), text: "may need s3:GetBucketObjectLockConfiguration", change: func(c *archive.S3Config) {
			writeFile(t, c.AccessKeyFile, breaker)
			writeFile(t, c.SecretKeyFile, testenv.S3Secret(breaker))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := server.config(t, test.bucket, writer)
			if test.change != nil {
				test.change(&cfg)
			}
			store := newS3(t, cfg)
			err := store.Check(t.Context())
			switch {
			case test.text == "" && err != nil:
				t.Fatal(err)
			case test.text != "" && (err == nil || !strings.Contains(err.Error(), test.text)):
				t.Errorf("error %v, want one with %q", err, test.text)
			case errors.Is(err, archive.ErrNotLocked) != (test.want != nil):
				t.Errorf("error %v, want %v", err, test.want)
			}
			if test.text == "" {
				canaryIsLocked(t, store, cfg.Mode)
			}
		})
	}
}

// canaryIsLocked fails unless Check left one object, locked for a day.
func canaryIsLocked(t *testing.T, store *archive.S3, mode string) {
	t.Helper()
	versions := list(t, store, archive.CanaryPrefix, "")
	if len(versions) != 1 {
		t.Fatalf("canaries: %+v", versions)
	}
	lock, err := store.Lock(t.Context(), versions[0].Key, versions[0].ID)
	if left := time.Until(lock.RetainUntil); err != nil || lock.Mode != mode || left < 24*time.Hour || left > 26*time.Hour {
		t.Errorf("canary's lock: %+v (%v)", lock, err)
	}
}

func TestS3DeleteMarker(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	bucket := server.bucket(t, true)
	store := newS3(t, server.config(t, bucket, writer))
	put(t, store, object("a", "x"), object("b/c", "x"))
	for _, key := range []string{"a", "b/c"} {
		if _, err := server.Client(testenv.S3Root).DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Put(t.Context(), object("a", "x")); !errors.Is(err, archive.ErrConflict) || !strings.Contains(err.Error(), "a: a delete marker") {
		t.Errorf("put behind a delete marker: %v", err)
	}
	if _, err := store.Get(t.Context(), "a", ""); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	versions := list(t, store, "a", "")
	if len(versions) != 2 || !versions[0].DeleteMarker || !versions[0].Latest || versions[1].DeleteMarker || versions[1].Latest {
		t.Fatalf("versions: %+v", versions)
	}
	if _, err := store.Get(t.Context(), "a", versions[0].ID); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("get the marker: %v", err)
	}
	if got, err := store.Get(t.Context(), "a", versions[1].ID); err != nil || string(got) != "x" {
		t.Errorf("get what it hides: %q (%v)", got, err)
	}
	if folders, err := store.Folders(t.Context(), ""); err != nil || !slices.Equal(folders, []string{"b"}) {
		t.Errorf("a folder of hidden objects: %q (%v)", folders, err)
	}
}

// TestS3Tampered changes a byte where S3 can't prevent it: in the server's file.
func TestS3Tampered(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	bucket := server.bucket(t, true)
	store := newS3(t, server.config(t, bucket, writer))
	put(t, store, object("a/b", "evidence"))
	file, err := os.OpenFile(server.File(bucket, "a/b"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte("E"), 0); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Get(t.Context(), "a/b", ""); err != nil || string(got) != "Evidence" {
		t.Errorf("got %q (%v), want what is there", got, err)
	}
	if err := store.Put(t.Context(), object("a/b", "evidence")); !errors.Is(err, archive.ErrConflict) {
		t.Errorf("the same bytes again: %v, want a conflict with what is there", err)
	}
}

// TestS3SameBytesWithoutLock: what is there already must be locked to count.
func TestS3SameBytesWithoutLock(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	bucket := server.bucket(t, true)
	server.overwrite(t, bucket, "a", []byte("x"))
	store := newS3(t, server.config(t, bucket, writer))
	put(t, store, object("a", "x"))
	versions := list(t, store, "", "")
	if len(versions) != 1 {
		t.Fatalf("versions: %+v", versions)
	}
	lock, err := store.Lock(t.Context(), "a", versions[0].ID)
	if err != nil || lock.Mode != archive.Compliance || time.Until(lock.RetainUntil) < 365*24*time.Hour {
		t.Errorf("lock: %+v (%v)", lock, err)
	}
}

func TestS3PutIntoUnlockedBucket(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	store := newS3(t, server.config(t, server.bucket(t, false), writer))
	if err := store.Put(t.Context(), object("a", "x")); !errors.Is(err, archive.ErrNotLocked) {
		t.Errorf("put: %v", err)
	}
}

// TestS3KeysRotate replaces the key files under a store that is in use.
func TestS3KeysRotate(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	bucket := server.bucket(t, true, "s3:PutObject")
	cfg := server.config(t, bucket, writer)
	store := newS3(t, cfg)
	put(t, store, object("a", "x"))
	writeFile(t, cfg.AccessKeyFile, "nobody")
	if err := store.Put(t.Context(), object("b", "x")); err == nil || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("with the key of nobody: %v", err)
	}
	writeFile(t, cfg.AccessKeyFile, breaker)
	writeFile(t, cfg.SecretKeyFile, testenv.S3Secret(breaker))
	put(t, store, object("c", "x"))
	if err := os.Remove(cfg.SecretKeyFile); err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), object("d", "x")); err == nil || !strings.Contains(err.Error(), cfg.SecretKeyFile) {
		t.Errorf("without a secret: %v", err)
	}
}

// TestS3Skew compares the clocks.
func TestS3Skew(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	bucket := server.bucket(t, true)
	for _, ahead := range []time.Duration{0, -time.Hour, 10 * time.Minute} {
		store, err := archive.NewS3(t.Context(), server.config(t, bucket, writer), func() time.Time { return time.Now().Add(-ahead) })
		if err != nil {
			t.Fatal(err)
		}
		if store.Skew() != 0 {
			t.Error("skew before anything was asked")
		}
		put(t, store, object(ahead.String(), "x"))
		if off := store.Skew() - ahead; off.Abs() > 10*time.Second {
			t.Errorf("the server's clock is %v ahead: %v", ahead, store.Skew())
		}
	}
}

func TestS3ConfigIsValidated(t *testing.T) {
	t.Parallel()
	good := archive.S3Config{Bucket: "b", Region: "r", Mode: archive.Governance, Retention: 24 * time.Hour}
	for what, test := range map[string]struct {
		change func(*archive.S3Config)
		text   string
	}{
		"bucket":     {func(c *archive.S3Config) { c.Bucket = "" }, "bucket"},
		"mode":       {func(c *archive.S3Config) { c.Mode = "compliance" }, "mode"},
		"no mode":    {func(c *archive.S3Config) { c.Mode = "" }, "mode"},
		"retention":  {func(c *archive.S3Config) { c.Retention = time.Hour }, "retention"},
		"one file":   {func(c *archive.S3Config) { c.AccessKeyFile = "x" }, "both or neither"},
		"endpoint":   {func(c *archive.S3Config) { c.Endpoint = "s3.example.com" }, "endpoint"},
		"with a key": {func(c *archive.S3Config) { c.Endpoint = "https://key:secret@s3.example.com" }, "endpoint"},
		"no file":    {func(c *archive.S3Config) { c.AccessKeyFile, c.SecretKeyFile = "none", "none" }, "none"},
	} {
		cfg := good
		test.change(&cfg)
		if _, err := archive.NewS3(t.Context(), cfg, time.Now); err == nil || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: %v", what, err)
		}
	}
	store, err := archive.NewS3(t.Context(), good, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if store.String() != "s3://b" || !store.WORM() {
		t.Error(store)
	}
}
