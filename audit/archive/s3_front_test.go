package archive_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/internal/testenv"
)

// front stands before the server, for what that doesn't do and others do.
// intercept answers a request and returns true, or returns false and lets it
// through; answered may change what the server answered.
type front struct {
	*s3Server
	bucket    string
	intercept func(f *front, w http.ResponseWriter, r *http.Request) bool
	answered  func(r *http.Response)
	requests  atomic.Int64
}

// behind returns an archive that sees the server through a front.
func (s *s3Server) behind(t *testing.T, f *front, change func(*archive.S3Config)) *archive.S3 {
	t.Helper()
	f.s3Server, f.bucket = s, s.bucket(t, true)
	target, err := url.Parse(s.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		// The signature covers the Host that the client sees.
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ModifyResponse: func(r *http.Response) error {
			if f.answered != nil {
				f.answered(r)
			}
			return nil
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.requests.Add(1)
		if f.intercept == nil || !f.intercept(f, w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	cfg := s.config(t, f.bucket, writer)
	cfg.Endpoint = server.URL
	if change != nil {
		change(&cfg)
	}
	return newS3(t, cfg)
}

func (f *front) key(r *http.Request) string { return strings.TrimPrefix(r.URL.Path, "/"+f.bucket+"/") }

// isPut: the request writes an object.
func isPut(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.RawQuery == "x-id=PutObject"
}

func refuse(w http.ResponseWriter, status int, code string) bool {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
	return true
}

// TestS3CheckFindsOut stands before a server that is worse than it says.
func TestS3CheckFindsOut(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	for name, test := range map[string]struct {
		intercept func(*front, http.ResponseWriter, *http.Request) bool
		mode      string // default: COMPLIANCE
		text      string
		locked    bool // the error isn't ErrNotLocked
	}{
		"drops the lock": {intercept: putWithoutLock, text: "has no retention"},
		"shortens the retention": {intercept: func(f *front, w http.ResponseWriter, r *http.Request) bool {
			return isPut(r) && f.putAs(w, r, types.ObjectLockModeCompliance, time.Hour)
		}, text: "was to be locked in mode COMPLIANCE"},
		"takes another mode": {intercept: func(f *front, w http.ResponseWriter, r *http.Request) bool {
			return isPut(r) && f.putAs(w, r, types.ObjectLockModeGovernance, 48*time.Hour)
		}, text: `is in mode "GOVERNANCE"`},
		"stores locks that it doesn't enforce": {mode: archive.Governance, intercept: deletesAnyway, text: "deleted a version that it said is locked"},
		"keeps no versions": {intercept: func(_ *front, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Has("versioning") {
				fmt.Fprint(w, "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>")
				return true
			}
			return false
		}, text: "switch versioning on"},
		"knows no locks": {intercept: func(_ *front, w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Query().Has("object-lock") && refuse(w, http.StatusNotImplemented, "NotImplemented")
		}, text: "knows no Object Lock"},
		"says disabled": {intercept: func(_ *front, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Has("object-lock") {
				fmt.Fprint(w, "<ObjectLockConfiguration></ObjectLockConfiguration>")
				return true
			}
			return false
		}, text: "has no Object Lock"},
		"is overloaded": {intercept: func(_ *front, w http.ResponseWriter, r *http.Request) bool {
			return isPut(r) && refuse(w, http.StatusServiceUnavailable, "SlowDown")
		}, text: "SlowDown", locked: true},
		"breaks at the deletion": {intercept: func(_ *front, w http.ResponseWriter, r *http.Request) bool {
			return r.Method == http.MethodDelete && refuse(w, http.StatusInternalServerError, "InternalError")
		}, text: "InternalError", locked: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := server.behind(t, &front{intercept: test.intercept}, func(c *archive.S3Config) { c.Mode = cmp.Or(test.mode, c.Mode) })
			err := store.Check(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.text) || errors.Is(err, archive.ErrNotLocked) == test.locked {
				t.Errorf("error %v (not locked: %v), want one with %q", err, errors.Is(err, archive.ErrNotLocked), test.text)
			}
		})
	}
}

func putWithoutLock(f *front, w http.ResponseWriter, r *http.Request) bool {
	return isPut(r) && f.putAs(w, r, "", 0)
}

// putAs puts what was sent with another lock than was asked for.
func (f *front) putAs(w http.ResponseWriter, r *http.Request, mode types.ObjectLockMode, retention time.Duration) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return refuse(w, http.StatusBadRequest, err.Error())
	}
	input := &s3.PutObjectInput{Bucket: &f.bucket, Key: aws.String(f.key(r)), Body: bytes.NewReader(body)}
	if mode != "" {
		input.ObjectLockMode, input.ObjectLockRetainUntilDate = mode, aws.Time(time.Now().Add(retention))
	}
	out, err := f.Client(testenv.S3Root).PutObject(r.Context(), input)
	if err != nil {
		return refuse(w, http.StatusBadRequest, err.Error())
	}
	w.Header().Set("X-Amz-Version-Id", aws.ToString(out.VersionId))
	return true
}

// deletesAnyway reports locks as they were asked for, and deletes all the same.
func deletesAnyway(f *front, w http.ResponseWriter, r *http.Request) bool {
	if isPut(r) {
		return f.putAs(w, r, types.ObjectLockModeGovernance, 25*time.Hour)
	}
	if r.Method != http.MethodDelete {
		return false
	}
	_, err := f.Client(testenv.S3Root).DeleteObject(r.Context(), &s3.DeleteObjectInput{
		Bucket: &f.bucket, Key: aws.String(f.key(r)), VersionId: aws.String(r.URL.Query().Get("versionId")), BypassGovernanceRetention: aws.Bool(true),
	})
	if err != nil {
		return refuse(w, http.StatusBadRequest, err.Error())
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// TestS3CheckWherePolicyWantsLong: a bucket may refuse locks of a day.
func TestS3CheckWherePolicyWantsLong(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	store := server.behind(t, &front{intercept: func(_ *front, w http.ResponseWriter, r *http.Request) bool {
		until, err := time.Parse(time.RFC3339, r.Header.Get("X-Amz-Object-Lock-Retain-Until-Date"))
		return isPut(r) && (err != nil || time.Until(until) < 364*24*time.Hour) && refuse(w, http.StatusForbidden, "AccessDenied")
	}}, nil)
	if err := store.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestS3AnswerLost: the server writes the object, and the client doesn't hear it.
func TestS3AnswerLost(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	for _, status := range []int{http.StatusInternalServerError, http.StatusServiceUnavailable} {
		var lost atomic.Bool
		store := server.behind(t, &front{answered: func(r *http.Response) {
			if isPut(r.Request) && r.StatusCode == http.StatusOK && lost.CompareAndSwap(false, true) {
				r.StatusCode, r.Status = status, http.StatusText(status)
			}
		}}, nil)
		put(t, store, object("a", "x"))
		if versions := list(t, store, "", ""); len(versions) != 1 || !lost.Load() {
			t.Errorf("lost %v, versions: %+v", lost.Load(), versions)
		}
	}
}

// TestS3ConditionalConflict: AWS answers so while another writer is at it.
func TestS3ConditionalConflict(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	conflicts := func(n int64) func(*front, http.ResponseWriter, *http.Request) bool {
		var count atomic.Int64
		return func(_ *front, w http.ResponseWriter, r *http.Request) bool {
			return isPut(r) && count.Add(1) <= n && refuse(w, http.StatusConflict, "ConditionalRequestConflict")
		}
	}
	store := server.behind(t, &front{intercept: conflicts(2)}, nil)
	put(t, store, object("a", "x"))
	holds(t, store, "a", "x")
	store = server.behind(t, &front{intercept: conflicts(1000)}, nil)
	err := store.Put(t.Context(), object("a", "x"))
	if err == nil || errors.Is(err, archive.ErrConflict) || errors.Is(err, archive.ErrNotFound) {
		t.Errorf("put where there is always another writer: %v", err)
	}
}

// TestS3WithoutStoredChecksum: not every server keeps SHA-256.
func TestS3WithoutStoredChecksum(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	store := server.behind(t, &front{answered: func(r *http.Response) { r.Header.Del("X-Amz-Checksum-Sha256") }}, nil)
	put(t, store, object("a", "x"), object("a", "x"))
	holds(t, store, "a", "x")
	if err := store.Put(t.Context(), object("a", "y")); !errors.Is(err, archive.ErrConflict) {
		t.Errorf("put other bytes: %v", err)
	}
}

// TestS3LockThatHeadHides: HEAD leaves out what a role may not see, or all.
func TestS3LockThatHeadHides(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	f := &front{answered: func(r *http.Response) {
		for name := range r.Header {
			if strings.HasPrefix(name, "X-Amz-Object-Lock-") {
				r.Header.Del(name)
			}
		}
	}}
	store := server.behind(t, f, nil)
	put(t, store, object("a", "x"))
	lock, err := store.Lock(t.Context(), "a", "")
	if err != nil || lock.Mode != archive.Compliance || time.Until(lock.RetainUntil) < 365*24*time.Hour {
		t.Errorf("lock: %+v (%v)", lock, err)
	}
}

func TestS3LegalHold(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	bucket := server.bucket(t, true)
	store := newS3(t, server.config(t, bucket, writer))
	put(t, store, object("a", "x"))
	_, err := server.Client(testenv.S3Root).PutObjectLegalHold(t.Context(), &s3.PutObjectLegalHoldInput{
		Bucket: &bucket, Key: aws.String("a"), LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOn},
	})
	if err != nil {
		t.Fatal(err)
	}
	if lock, err := store.Lock(t.Context(), "a", ""); err != nil || !lock.LegalHold || lock.Mode != archive.Compliance {
		t.Errorf("lock: %+v (%v)", lock, err)
	}
}

// TestS3EncodedListing: AWS encodes keys when it is asked to, so that they can hold
// what XML can't.
func TestS3EncodedListing(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	store := server.behind(t, &front{intercept: func(_ *front, w http.ResponseWriter, r *http.Request) bool {
		if !r.URL.Query().Has("versions") || r.URL.Query().Get("encoding-type") != "url" {
			return false
		}
		fmt.Fprint(w, `<ListVersionsResult><EncodingType>url</EncodingType>
			<Version><Key>p/%01+%2B%25</Key><VersionId>v</VersionId><IsLatest>true</IsLatest></Version>
			<CommonPrefixes><Prefix>p/b%0A/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>p/a+c/</Prefix></CommonPrefixes></ListVersionsResult>`)
		return true
	}}, nil)
	if got := list(t, store, "p/", ""); len(got) != 1 || got[0].Key != "p/\x01 +%" || got[0].ID != "v" {
		t.Errorf("versions: %+v", got)
	}
	if got, err := store.Folders(t.Context(), "p/"); err != nil || len(got) != 2 || got[0] != "a c" || got[1] != "b\n" {
		t.Errorf("folders: %q (%v)", got, err)
	}
}

// TestS3ManyVersions lists keys whose versions end in the middle of pages.
func TestS3ManyVersions(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	f := &front{intercept: smallPages}
	store := server.behind(t, f, nil)
	const n = 23
	for i := range n {
		server.overwrite(t, f.bucket, []string{"a", "b/b", "c"}[i*3/n], fmt.Append(nil, i))
	}
	ids := map[string]bool{}
	versions := list(t, store, "", "")
	for _, v := range versions {
		ids[v.ID] = true
	}
	if len(versions) != n || len(ids) != n || f.requests.Load() < n/pageSize {
		t.Errorf("%d versions, %d different, want %d, in %d requests", len(versions), len(ids), n, f.requests.Load())
	}
	if got := keys(list(t, store, "", "b/b")); len(got) == 0 || got[0] != "c" {
		t.Errorf("after b/b: %q", got)
	}
}

const pageSize = 5

// smallPages asks the server for pages of five.
func smallPages(f *front, w http.ResponseWriter, r *http.Request) bool {
	query := r.URL.Query()
	if !query.Has("versions") {
		return false
	}
	query.Set("max-keys", fmt.Sprint(pageSize))
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, f.Endpoint()+r.URL.Path+"?"+query.Encode(), http.NoBody)
	if err != nil {
		return refuse(w, http.StatusBadRequest, err.Error())
	}
	empty := fmt.Sprintf("%x", sha256.Sum256(nil))
	request.Header.Set("X-Amz-Content-Sha256", empty)
	root := aws.Credentials{AccessKeyID: testenv.S3Root, SecretAccessKey: testenv.S3Secret(testenv.S3Root)}
	if err := v4.NewSigner().SignHTTP(r.Context(), root, request, empty, "s3", testenv.S3Region, time.Now()); err != nil {
		return refuse(w, http.StatusBadRequest, err.Error())
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return refuse(w, http.StatusBadGateway, err.Error())
	}
	defer response.Body.Close()
	w.WriteHeader(response.StatusCode)
	_, err = io.Copy(w, response.Body)
	return err == nil
}

// TestS3ListingThatDoesNotEnd must end all the same.
func TestS3ListingThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	for _, marker := range []string{"<NextKeyMarker>k</NextKeyMarker>", ""} {
		store := server.behind(t, &front{intercept: func(_ *front, w http.ResponseWriter, r *http.Request) bool {
			if !r.URL.Query().Has("versions") {
				return false
			}
			fmt.Fprintf(w, "<ListVersionsResult><IsTruncated>true</IsTruncated>%s</ListVersionsResult>", marker)
			return true
		}}, nil)
		if _, err := store.Folders(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "listing") {
			t.Errorf("folders: %v", err)
		}
	}
}

// TestS3SilentServer: a server that accepts and says nothing costs the timeout.
func TestS3SilentServer(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	f := &front{intercept: func(_ *front, _ http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body) // before that, nobody notices that the client leaves
		<-r.Context().Done()
		return true
	}}
	store := server.behind(t, f, nil)
	store.SetTimeout(200 * time.Millisecond)
	_, getErr := store.Get(t.Context(), "a", "")
	_, lockErr := store.Lock(t.Context(), "a", "")
	_, foldersErr := store.Folders(t.Context(), "")
	for what, err := range map[string]error{
		"put": store.Put(t.Context(), object("a", "x")), "get": getErr, "lock": lockErr, "folders": foldersErr, "check": store.Check(t.Context()),
	} {
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, archive.ErrNotLocked) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestS3Retries: what may pass is tried again, a few times.
func TestS3Retries(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	f := &front{intercept: func(_ *front, w http.ResponseWriter, r *http.Request) bool {
		return refuse(w, http.StatusServiceUnavailable, "SlowDown")
	}}
	store := server.behind(t, f, nil)
	if err := store.Put(t.Context(), object("a", "x")); err == nil || !strings.Contains(err.Error(), "SlowDown") {
		t.Error(err)
	}
	if n := f.requests.Load(); n < 2 || n > 4 {
		t.Errorf("%d requests", n)
	}
}

// TestS3PutSends what the bucket's policy and the reader of an object rely on.
func TestS3PutSends(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	var sent http.Header
	store := server.behind(t, &front{intercept: func(_ *front, _ http.ResponseWriter, r *http.Request) bool {
		sent = r.Header.Clone()
		return true
	}}, func(c *archive.S3Config) { c.KMSKey = "alias/audit" })
	put(t, store, object("a", "{}"))
	for name, want := range map[string]string{
		"If-None-Match":                                   "*",
		"Content-Type":                                    "application/json",
		"X-Amz-Object-Lock-Mode":                          "COMPLIANCE",
		"X-Amz-Sdk-Checksum-Algorithm":                    "SHA256",
		"X-Amz-Checksum-Sha256":                           "RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=",
		"X-Amz-Meta-Checksum":                             "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
		"X-Amz-Meta-Log":                                  "test",
		"X-Amz-Server-Side-Encryption":                    "aws:kms",
		"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id":     "alias/audit",
		"X-Amz-Server-Side-Encryption-Bucket-Key-Enabled": "true",
	} {
		if got := sent.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	until, err := time.Parse(time.RFC3339Nano, sent.Get("X-Amz-Object-Lock-Retain-Until-Date"))
	if err != nil || until.Nanosecond() != 0 {
		t.Errorf("retain until %v (%v)", until, err)
	}
}
