package archive_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/internal/testenv"
)

func TestPreflight(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	everything := []string{"s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"}
	bypassed := map[string]bool{"delete the version, bypassing governance": true, "shorten the retention, bypassing governance": true}
	for name, test := range map[string]struct {
		mode, second string
		rights       []string
		refused      int
		allowed      map[string]bool
	}{
		"compliance, root":                 {mode: archive.Compliance, second: testenv.S3Root, rights: everything, refused: 7},
		"compliance, role with all rights": {mode: archive.Compliance, second: breaker, rights: everything, refused: 7},
		"compliance, role with none":       {mode: archive.Compliance, second: breaker, refused: 7},
		"governance, root":                 {mode: archive.Governance, second: testenv.S3Root, rights: everything, refused: 4, allowed: bypassed},
		"governance, role with the bypass": {mode: archive.Governance, second: breaker, rights: everything, refused: 4, allowed: bypassed},
		"governance, role without it":      {mode: archive.Governance, second: breaker, rights: everything[:2], refused: 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bucket := server.bucket(t, true, test.rights...)
			stores := make([]*archive.S3, 0, 2)
			for _, user := range []string{writer, test.second} {
				cfg := server.config(t, bucket, user)
				cfg.Mode = test.mode
				stores = append(stores, newS3(t, cfg))
			}
			put(t, stores[0], object("audit-logs/evidence", "x"))
			report, err := archive.Preflight(t.Context(), stores[0], stores[1], time.Now)
			if err != nil {
				t.Fatal(err)
			}
			if report.Refused() != (len(test.allowed) == 0) || report.Mode != test.mode || report.Archive != "s3://"+bucket {
				t.Errorf("report: %+v", report)
			}
			refused := 0
			for _, attempt := range report.Attempts {
				t.Logf("%v %s: %s", attempt.Refused, attempt.What, attempt.How)
				if attempt.Refused {
					refused++
				}
				if attempt.Refused == test.allowed[attempt.What] || !strings.HasPrefix(attempt.Key, archive.CanaryPrefix) || attempt.How == "" {
					t.Errorf("attempt: %+v", attempt)
				}
				if !attempt.Refused && !strings.Contains(attempt.How, "s3:BypassGovernanceRetention") {
					t.Errorf("says nothing about governance: %s", attempt.How)
				}
			}
			if refused != test.refused {
				t.Errorf("%d attempts refused, want %d", refused, test.refused)
			}
			if versions := list(t, stores[0], "audit-logs/evidence", ""); len(versions) != 1 || !versions[0].Latest {
				t.Errorf("what is no canary: %+v", versions)
			}
			if _, err := json.Marshal(report); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPreflightFindsOutNothing: refusals that say nothing about the lock are no
// refusals.
func TestPreflightFindsOutNothing(t *testing.T) {
	t.Parallel()
	server := startS3(t)
	bucket, other := server.bucket(t, true), server.bucket(t, true)
	store := newS3(t, server.config(t, bucket, writer))
	unknown := server.config(t, bucket, "nobody")
	governed := server.config(t, bucket, breaker)
	governed.Mode = archive.Governance
	for text, cfg := range map[string]archive.S3Config{
		"doesn't accept the credentials": unknown,
		"same bucket and mode":           governed,
		"for the same bucket":            server.config(t, other, breaker),
	} {
		report, err := archive.Preflight(t.Context(), store, newS3(t, cfg), time.Now)
		if err == nil || !strings.Contains(err.Error(), text) || report.Refused() {
			t.Errorf("%+v (%v), want an error with %q", report, err, text)
		}
	}
}
