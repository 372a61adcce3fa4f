package webhook_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/pim/webhook"
)

func TestEvent(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, 3, 1, 11, 30, 0, 0, time.FixedZone("", 7200))
	body, err := webhook.Event{
		Type: webhook.Requested, Timestamp: time.Date(2026, 3, 1, 10, 0, 0, 0, time.FixedZone("", 3600)),
		Data: webhook.Data{
			RequestID: "r-1", Kind: "call", Server: "dealer", Tool: "refund_payment", Requester: "alice",
			Reason: "<ticket>", DurationSeconds: 900, ExpiresAt: &until, ApprovalURL: "https://x/api/auth/elevations/r-1",
		},
	}.JSON()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"type":"elevation.requested","timestamp":"2026-03-01T09:00:00Z","data":{"request_id":"r-1","kind":"call",` +
		`"server":"dealer","tool":"refund_payment","requester":"alice","reason":"\u003cticket\u003e","duration_seconds":900,` +
		`"expires_at":"2026-03-01T09:30:00Z","approval_url":"https://x/api/auth/elevations/r-1","break_glass":false}}`
	if diff := cmp.Diff(want, string(body)); diff != "" {
		t.Error(diff)
	}
	if until.Location() == time.UTC {
		t.Error("the caller's time was changed")
	}
}
