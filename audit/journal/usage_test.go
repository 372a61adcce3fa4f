package journal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
)

// TestAdmission: what is refused at which level.
func TestAdmission(t *testing.T) {
	t.Parallel()
	const (
		read    = audit.Class(0)
		write   = audit.Synced | audit.Single
		denial  = audit.Reserve
		refusal = audit.Synced | audit.Reserve
	)
	all := []audit.Class{read, write, denial, refusal}
	for _, tc := range []struct {
		percent  int64
		readOnly bool
		state    state
		refused  []audit.Class
	}{
		{0, false, stateOK, nil},
		{69, false, stateOK, nil},
		{70, false, stateWarn, nil},
		{89, false, stateWarn, nil},
		{90, false, stateRefusing, []audit.Class{read, write}},
		{99, false, stateRefusing, []audit.Class{read, write}},
		{100, false, stateRefusing, all},
		{300, false, stateRefusing, all},
		{89, true, stateWarn, nil},
		{90, true, stateRefusing, []audit.Class{write}},
		{94, true, stateRefusing, []audit.Class{write}},
		{95, true, stateRefusing, []audit.Class{read, write}},
		{99, true, stateRefusing, []audit.Class{read, write}},
		{100, true, stateRefusing, all},
	} {
		t.Run(fmt.Sprint(tc.percent, "%,", tc.readOnly), func(t *testing.T) {
			t.Parallel()
			const maxBytes = 1 << 30
			cfg := small(t.TempDir())
			cfg.MaxBytes, cfg.ReadOnlyWhenFull = maxBytes, tc.readOnly
			cfg.Extra = func() int64 { return tc.percent*maxBytes/100 + 1 }
			j := mustOpen(t, cfg, osDisk{})
			defer mustClose(t, j)
			if u := j.Usage(); stateOf(j.level()) != tc.state || u.Max != maxBytes || u.Bytes != cfg.Extra() {
				t.Errorf("usage %+v, want state %v", u, tc.state)
			}
			var refused []audit.Class
			for _, class := range all {
				switch err := j.Append(event("x"), class); {
				case errors.Is(err, ErrFull):
					refused = append(refused, class)
				case err != nil:
					t.Error(err)
				}
			}
			if !slices.Equal(refused, tc.refused) {
				t.Errorf("refused %v, want %v", refused, tc.refused)
			}
		})
	}
}

// TestFillsUp: a journal whose events nobody archives stays below its limit, says
// so, and takes events again once they are released.
func TestFillsUp(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, nil))
	cfg := small(t.TempDir())
	cfg.MaxBytes = 4 << 20
	var extra atomic.Int64
	cfg.Extra = extra.Load
	j, err := Open(cfg, log, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range []struct { // it looks from time to time
		percent int64
		want    state
	}{{75, stateWarn}, {0, stateOK}} {
		extra.Store(cfg.MaxBytes * level.percent / 100)
		until(t, "it sees what the outbox has", func() bool { return state(j.state.Load()) == level.want && j.extra.Load() == extra.Load() })
	}
	fill := func(class audit.Class) {
		t.Helper()
		var err error
		for err == nil {
			err = j.Append(event("x"), class)
		}
		if !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		class   audit.Class
		percent int64
	}{{0, 90}, {audit.Reserve, 100}} {
		fill(tc.class)
		if got, want := j.Usage().Bytes, cfg.MaxBytes*tc.percent/100; got < want || got > want+2000 {
			t.Errorf("class %d ends at %d bytes, want %d", tc.class, got, want)
		}
	}
	until(t, "it says that it is full", func() bool { return state(j.state.Load()) == stateRefusing })
	until(t, "events are synced", func() bool { return j.Synced() == j.Next() })
	if err := j.Release(j.Next()); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(event("y"), 0); err != nil {
		t.Errorf("after a release: %v", err)
	}
	until(t, "it says that it has room", func() bool { return state(j.state.Load()) == stateOK })
	extra.Store(cfg.MaxBytes * 9 / 10)
	until(t, "the outbox counts", func() bool { return errors.Is(j.Append(event("z"), 0), ErrFull) })
	mustClose(t, j)
	for _, want := range []string{"the journal fills up", "requests are refused until there is room", "has room again"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, text.String())
		}
	}
}

func TestAges(t *testing.T) {
	t.Parallel()
	var a ages
	start := time.Unix(1_000_000, 0)
	for i := range 10 * maxAges {
		a.remember(uint64(10*i+10), start.Add(time.Duration(i)*time.Second))
	}
	if len(a) > maxAges {
		t.Errorf("%d ages are kept", len(a))
	}
	for _, before := range []uint64{0, 5, 50_000, 90_000} {
		a.forget(before)
		want := start.Add(time.Duration(before/10) * time.Second)
		if got := a[0].at; got.Before(want) || got.After(want.Add(5*time.Minute)) {
			t.Errorf("event %d was written at %v, want %v", before, got, want)
		}
	}
	a.forget(10 * 10 * maxAges)
	if len(a) != 0 {
		t.Errorf("all was released: %v", a)
	}
	// What comes soon after counts as older, never as younger.
	a.remember(1, start)
	a.remember(9, start.Add(ageEvery/2))
	a.forget(5)
	if len(a) != 1 || !a[0].at.Equal(start) {
		t.Errorf("%v", a)
	}
}
