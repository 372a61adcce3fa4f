package pim

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// grants are rows of elevations in force, each of its own holder.
func grants(n int) []row {
	rows := make([]row, n)
	for i := range rows {
		rows[i] = row{
			id: fmt.Sprint("r", i), change: uint64(i + 1), kind: Elevation, state: Approved, holder: Holder{fmt.Sprint("p", i), "cars", "scrap"},
			starts: noon, until: noon.Add(time.Hour),
		}
	}
	return rows
}

func viewOf(rows []row) *View {
	v := newView()
	v.replace(rows, uint64(len(rows)), 0, anew)
	v.fresh(noon, noon)
	return v
}

func TestViewIsFreshOrSilent(t *testing.T) {
	t.Parallel()
	rows := grants(1)
	h := rows[0].holder
	check := func(v *View, now time.Time) error {
		_, _, _, err := v.Grant(h, false, now)
		_, _, err2 := v.RevokedAt(h, now)
		_, err3 := v.Approval(h, [32]byte{1}, now)
		for _, err := range []error{err, err2, err3} {
			if (err == nil) != (err3 == nil) || err != nil && !errors.Is(err, ErrUnavailable) {
				t.Errorf("%v, %v, %v", err, err2, err3)
			}
		}
		return err
	}
	if check(newView(), noon) == nil {
		t.Error("a view that has read nothing answers")
	}
	v := viewOf(rows)
	for after, want := range map[time.Duration]bool{
		0: true, 2 * time.Second: true, 2*time.Second + 1: false, time.Hour: false,
		-time.Second: true, -3 * time.Second: false, -time.Hour: false, // somebody has set the clock back
	} {
		if err := check(v, noon.Add(after)); (err == nil) != want {
			t.Errorf("after %v: %v", after, err)
		}
	}
}

// TestViewClock: ends are the database's, whose clock may go otherwise than ours.
func TestViewClock(t *testing.T) {
	t.Parallel()
	rows := grants(1)
	for _, ahead := range []time.Duration{-10 * time.Minute, 0, 10 * time.Minute} {
		v := viewOf(rows)
		now := noon.Add(-ahead).Add(time.Hour) // when the grant ends
		v.fresh(now, noon.Add(time.Hour))
		for before, want := range map[time.Duration]bool{time.Millisecond: true, 0: false, -time.Millisecond: false} {
			if _, _, ok, err := v.Grant(rows[0].holder, false, now.Add(-before)); ok != want || err != nil {
				t.Errorf("%v ahead, %v before the end: %v, %v", ahead, before, ok, err)
			}
		}
	}
}

// TestViewOrder: an older answer on its way must not bring back what has ended.
func TestViewOrder(t *testing.T) {
	t.Parallel()
	rows := grants(3)
	ended := func(i int, state State) row {
		r := rows[i]
		r.state, r.change, r.until = state, 10, time.Time{}
		return r
	}
	v := viewOf(rows)
	v.apply([]row{ended(0, Expired)})
	v.apply(rows)
	granted := func(i int) bool {
		_, _, ok, err := v.Grant(rows[i].holder, false, noon)
		return ok && err == nil
	}
	if granted(0) || !granted(1) {
		t.Errorf("after an older answer: %v, %v", granted(0), granted(1))
	}
	v.replace(rows, 3, 1, beside) // read before the change, and slower
	if granted(0) || !granted(1) {
		t.Errorf("after an older answer of everything: %v, %v", granted(0), granted(1))
	}
	v.replace(rows[1:2], 11, 1, beside)
	if granted(0) || !granted(1) || granted(2) {
		t.Errorf("after all was read: %v, %v, %v", granted(0), granted(1), granted(2))
	}
	if len(v.rows) != 1 || len(v.byHolder) != 1 {
		t.Errorf("%d rows of %d holders are kept", len(v.rows), len(v.byHolder))
	}
	v.apply(rows[2:])
	v.replace(rows[:1], 2, 1, anew) // a backup was restored
	v.replace(rows, 3, 1, beside)   // read before
	if !granted(0) || granted(1) || granted(2) {
		t.Errorf("after the database went back: %v, %v, %v", granted(0), granted(1), granted(2))
	}
	if seen, _, loaded := v.position(); seen != 2 || !loaded {
		t.Errorf("at %d, %v", seen, loaded)
	}
}

// TestRevocations adds rows of one holder in every order.
func TestRevocations(t *testing.T) {
	t.Parallel()
	minute := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	revoked := func(at, until int) row {
		return row{id: fmt.Sprint("x", at), change: uint64(at + 1), kind: Elevation, state: Revoked, ended: minute(at), until: minute(until)}
	}
	granted := func(from, until int) row {
		return row{id: fmt.Sprint("g", from), change: uint64(from + 1), kind: Elevation, state: Approved, starts: minute(from), until: minute(until)}
	}
	of := func(r row, provider string, glass bool) row {
		r.provider, r.breakGlass = provider, glass
		return r
	}
	for name, c := range map[string]struct {
		rows []row
		now  int
		want int // minute of the revocation; -1: none
	}{
		"nothing":            {nil, 1, -1},
		"a grant":            {[]row{granted(0, 60)}, 1, -1},
		"revoked":            {[]row{revoked(1, 60)}, 2, 1},
		"would have ended":   {[]row{revoked(1, 60)}, 60, -1},
		"the newest":         {[]row{revoked(1, 60), revoked(5, 60), revoked(3, 90)}, 6, 5},
		"an older one lasts": {[]row{revoked(1, 60), revoked(5, 10)}, 11, 1},
		"lifted":             {[]row{revoked(1, 60), granted(2, 30)}, 3, -1},
		"lifted no longer":   {[]row{revoked(1, 60), granted(2, 30)}, 30, 1},
		"an older grant":     {[]row{granted(0, 60), revoked(1, 60)}, 3, 1},
		"lifted there":       {[]row{revoked(1, 60), of(granted(2, 30), "azure", false)}, 3, -1},
		"lifted by glass":    {[]row{revoked(1, 60), of(granted(2, 30), "", true)}, 3, -1},
		"again":              {[]row{revoked(1, 60), granted(2, 30), revoked(4, 30)}, 5, 4},
	} {
		for range len(c.rows) + 1 {
			v := viewOf(nil)
			v.apply(c.rows)
			now := minute(c.now)
			v.fresh(now, now)
			at, ok, err := v.RevokedAt(Holder{}, now)
			if ok != (c.want >= 0) || ok && !at.Equal(minute(c.want)) || err != nil {
				t.Errorf("%s: %v, %v, %v", name, at, ok, err)
			}
			if len(c.rows) > 0 {
				c.rows = append(slices.Clone(c.rows[1:]), c.rows[0])
			}
		}
	}
}

// TestViewWhileItChanges reads as it is changed.
func TestViewWhileItChanges(t *testing.T) {
	t.Parallel()
	rows := grants(600)
	v := viewOf(rows)
	done := make(chan struct{})
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				n := i % len(rows)
				if _, _, ok, err := v.Grant(rows[n].holder, false, noon); err != nil || n >= 300 && !ok {
					t.Errorf("%d: %v, %v", n, ok, err)
					return
				}
			}
		})
	}
	for change := range 300 {
		r := rows[change]
		r.state, r.change, r.until = Expired, uint64(1000+change), time.Time{}
		v.apply([]row{r})
		if _, _, ok, err := v.Grant(r.holder, false, noon); ok || err != nil {
			t.Errorf("%d is still granted, %v", change, err)
		}
	}
	close(done)
	wait.Wait()
	if pending, live, glass := v.counts(noon); pending != 0 || live != 300 || glass != 0 {
		t.Errorf("%d, %d, %d", pending, live, glass)
	}
}

// busy is a view with many grants, and one holder who has some of everything.
func busy() (*View, Holder) {
	rows := grants(mostLive)
	h := rows[17].holder
	rows = append(rows,
		row{id: "c", change: mostLive + 1, kind: Call, state: Approved, holder: h, fingerprint: [32]byte{1}, until: noon.Add(time.Hour)},
		row{id: "p", change: mostLive + 2, kind: Call, state: Pending, holder: h, fingerprint: [32]byte{2}, until: noon.Add(time.Hour)},
		row{id: "x", change: mostLive + 3, kind: Elevation, state: Revoked, holder: h, ended: noon.Add(-time.Hour), until: noon.Add(time.Hour)})
	return viewOf(rows), h
}

// look asks all that a call asks.
func look(v *View, h Holder) error {
	_, revoked, err := v.RevokedAt(h, noon)
	_, _, granted, err2 := v.Grant(h, false, noon)
	approval, err3 := v.Approval(h, [32]byte{1}, noon)
	if revoked || !granted || approval != "c" || v.Pending(h, [32]byte{2}) != "p" {
		return errors.New("a wrong answer")
	}
	return errors.Join(err, err2, err3)
}

func TestViewAllocatesNothing(t *testing.T) { // not parallel: allocations of others would count
	v, h := busy()
	if n := testing.AllocsPerRun(1000, func() {
		if err := look(v, h); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(1000, func() { _, _, _, _ = v.Grant(Holder{"nobody", "cars", "scrap"}, false, noon) }); n != 0 {
		t.Errorf("%v allocations for nobody", n)
	}
}

func BenchmarkView(b *testing.B) {
	v, h := busy()
	b.Run("grant", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, ok, err := v.Grant(h, false, noon); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := look(v, h); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, _, ok, err := v.Grant(h, false, noon); !ok || err != nil {
					b.Error(ok, err)
				}
			}
		})
	})
	b.Run("change", func(b *testing.B) {
		r := v.rows["r18"]
		for b.Loop() {
			r.change++
			v.apply([]row{r})
		}
	})
}
