package pim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/audit"
)

var carol = Party{PrincipalID: "p-carol", Issuer: "https://idp", IssuerName: "corp", Subject: "carol", Client: "app", Tenant: "north", Person: "carol@example.com"}

func TestJournalRefuses(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica()
		pending, granted, approved := w.ask(one, elevation(alice)), w.given(one, elevation(carol)), w.given(one, call(alice, 1))
		w.journal.refuses(func(class audit.Class) bool { return class&audit.Reserve == 0 })
		w.wantError("request", second(one.Request(w.Context(), call(alice, 2), terms)), ErrUnrecorded)
		w.wantError("approve", second(one.Approve(w.Context(), pending.ID, bob, "")), ErrUnrecorded)
		w.wantState(one, pending.ID, Pending)
		if page, _, err := one.List(w.Context(), Filter{}); err != nil || len(page) != 3 {
			w.Errorf("%d requests, %v", len(page), err)
		}
		// What takes rights away may use the reserve.
		if _, err := one.Revoke(w.Context(), granted.ID, bob, ""); err != nil {
			w.Error(err)
		}
		w.wantGrant(one, carol, "")
		w.journal.refuses(func(audit.Class) bool { return true })
		w.wantError("deny", second(one.Deny(w.Context(), pending.ID, bob, "")), ErrUnrecorded)
		w.wantState(one, pending.ID, Pending)
		// The decision's own record was the intent.
		if err := one.Spend(w.Context(), approved.ID, alice.PrincipalID, [32]byte{1}, "d"); err != nil {
			w.Error(err)
		}
		if n := one.Stats().Unrecorded; n != 1 {
			w.Errorf("%d outcomes are missing, want 1", n)
		}
		w.pass(2 * time.Hour)
		w.wantError("expire", one.lapse(w.Context()), ErrUnrecorded)
		w.wantState(one, pending.ID, Pending)
	})
}

// TestEvents pins what an event says.
func TestEvents(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica()
		ask := call(carol, 7)
		r := w.given(one, ask)
		events := w.journal.take()
		last := events[len(events)-1]
		last.EventID, last.Timestamp, last.Raw = "", time.Time{}, nil
		until := last.Metadata.Until
		want := event{class: audit.Synced | audit.Single | audit.Reserve, Event: audit.Event{
			EventType: "elevation", UserID: "bob", ToolName: "scrap", Action: "approve", Status: "done",
			Metadata: audit.Metadata{
				Principal: &audit.Principal{ID: "p-bob", Issuer: "https://idp", Subject: "bob", Client: "app"},
				Server:    "cars", RequestID: r.ID, Kind: "call", DurationSeconds: 600, Until: r.Until, Comment: "fine", State: "approved",
				Fingerprint: fmt.Sprintf("%064x", [32]byte{7}),
			},
		}}
		want.Metadata.Fingerprint = "07" + strings.Repeat("00", 31)
		if diff := cmp.Diff(want, last, cmp.AllowUnexported(event{})); diff != "" || !until.Equal(r.Until) {
			w.Error(diff)
		}
		first := events[0]
		if first.Metadata.Why != "a wreck" || first.Metadata.Principal.Issuer != "corp" || first.Metadata.Principal.Tenant != "north" ||
			first.class != audit.Synced|audit.Single || strings.Contains(string(first.Raw), `"car":17`) {
			w.Errorf("event %s, class %b", first.Raw, first.class)
		}
	})
}
