package pim

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestList(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica()
		var ids []string
		for n := range byte(12) {
			r := w.ask(one, call(Party{PrincipalID: fmt.Sprint("p", n%2), Person: "x"}, n+1))
			ids = append([]string{r.ID}, ids...)
			w.pass(5 * time.Millisecond)
			waitForMillisecond(w)
		}
		if _, err := one.Approve(w.Context(), ids[0], bob, ""); err != nil {
			w.Fatal(err)
		}
		var got []string
		pages, after := 0, ""
		for {
			page, next, err := one.List(w.Context(), Filter{After: after, Limit: 4})
			if err != nil {
				w.Fatal(err)
			}
			for _, r := range page {
				if got = append(got, r.ID); r.Call != "" || r.Reason == "" || r.Fingerprint == [32]byte{} {
					w.Errorf("listed: %+v", r)
				}
			}
			pages++
			if after = next; after == "" {
				break
			}
		}
		if diff := cmp.Diff(ids, got); diff != "" || pages != 3 {
			w.Errorf("%d pages\n%s", pages, diff)
		}
		if r := w.get(one, ids[0]); r.Call == "" {
			w.Error("the call can't be read")
		}
		for f, want := range map[Filter]int{
			{State: Pending}: 11, {State: Approved}: 1, {PrincipalID: "p1"}: 6, {PrincipalID: "p1", State: Pending}: 5, {Server: "x"}: 0,
			{Server: "cars", Tool: "scrap", Kind: Call}: 12, {Kind: Elevation}: 0, {Limit: 500}: 12,
		} {
			if page, _, err := one.List(w.Context(), f); len(page) != want || err != nil {
				w.Errorf("%+v: %d, %v, want %d", f, len(page), err, want)
			}
		}
		for _, f := range []Filter{{Limit: -1}, {Limit: 501}, {After: "'"}, {Server: "\x00"}} {
			_, _, err := one.List(w.Context(), f)
			w.wantError(fmt.Sprintf("%+v", f), err, ErrAsk)
		}
	})
}

// waitForMillisecond returns in another millisecond of the real clock, so that ids sort.
func waitForMillisecond(w *world) {
	start := time.Now().UnixMilli()
	for w.time.IsZero() && time.Now().UnixMilli() == start {
		<-time.After(time.Millisecond)
	}
}

func TestPurge(t *testing.T) {
	forEach(t, func(w *world) {
		one := w.replica(func(c *Config) { c.Keep = 48 * time.Hour })
		old, spent := w.given(one, elevation(alice)), w.given(one, call(alice, 1))
		if err := one.Spend(w.Context(), spent.ID, alice.PrincipalID, [32]byte{1}, "d"); err != nil {
			w.Fatal(err)
		}
		clean := func() {
			w.Helper()
			if err := errors.Join(one.lapse(w.Context()), one.store.purge(w.Context(), one.cfg.Keep)); err != nil {
				w.Fatal(err)
			}
		}
		w.pass(47 * time.Hour)
		clean()
		w.wantState(one, old.ID, Expired)
		w.pass(3 * time.Hour)
		clean()
		w.wantError("old", second(one.Get(w.Context(), old.ID)), ErrUnknown)
		w.wantState(one, spent.ID, Spent) // it answered retries for a day
		w.pass(24 * time.Hour)
		clean()
		w.wantError("spent", second(one.Get(w.Context(), spent.ID)), ErrUnknown)
	})
}
