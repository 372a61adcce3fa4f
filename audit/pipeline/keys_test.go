package pipeline

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/ledger"
)

// signers says which of the world's keys signed each cut, in order, as "0", "0+1"
// and so on, with what the cut announces.
func (w *world) signers(leaves []leaf) (all []string) {
	w.t.Helper()
	for _, l := range leaves {
		if l.seq != l.cut.First {
			continue
		}
		signed := []byte(w.get(ledger.SealKey(ledger.Writer(l.cut.Origin), l.cut.Size)))
		var names []string
		for i, k := range w.keys {
			v, err := note.NewVerifier(k.Public)
			if err != nil {
				w.t.Fatal(err)
			}
			if _, _, err := ledger.OpenSeal(signed, note.VerifierList(v)); err == nil {
				names = append(names, string(rune('0'+i)))
			}
		}
		text := strings.Join(names, "+")
		for i, k := range w.keys {
			if ledger.LeafType([]byte(l.text)) == "log" && l.has(`"action":"key_rotated"`) && l.has(`"new":"`+k.Public+`"`) {
				text += " announces " + string(rune('0'+i))
			}
		}
		all = append(all, text)
	}
	return slices.Compact(all)
}

func TestKeyRotation(t *testing.T) {
	type start struct {
		keys  []int
		crash bool // before the first cut
	}
	for what, test := range map[string]struct {
		starts []start
		want   []string
	}{
		"one key":                       {[]start{{keys: []int{0}}, {keys: []int{0}}}, []string{"0"}},
		"announced":                     {[]start{{keys: []int{0}}, {keys: []int{1, 0}}, {keys: []int{1, 0}}, {keys: []int{1}}}, []string{"0", "0+1 announces 1", "1"}},
		"twice":                         {[]start{{keys: []int{0}}, {keys: []int{1, 0}}, {keys: []int{2, 1, 0}}}, []string{"0", "0+1 announces 1", "1", "1+2 announces 2", "2"}},
		"a crash comes between":         {[]start{{keys: []int{0}}, {keys: []int{1, 0}, crash: true}, {keys: []int{1, 0}}}, []string{"0", "0+1 announces 1", "1 announces 1", "1"}},
		"the operator changes her mind": {[]start{{keys: []int{0}}, {keys: []int{1, 0}, crash: true}, {keys: []int{0}}}, []string{"0", "0 announces 1", "0"}},
		"and takes another one":         {[]start{{keys: []int{0}}, {keys: []int{1, 0}, crash: true}, {keys: []int{2, 0}}}, []string{"0", "0 announces 1", "0+2 announces 2", "2"}},
	} {
		t.Run(what, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.newKey()
				w.newKey()
				w.cfg.BatchEvents = 1
				for _, s := range test.starts {
					w.cfg.Keys = nil
					for _, k := range s.keys {
						w.cfg.Keys = append(w.cfg.Keys, w.keys[k])
					}
					p, err := w.open()
					if err != nil {
						t.Fatal(err)
					}
					if s.crash {
						p.crash()
						continue
					}
					p.run()
					p.append(audit.Synced)
					p.settle()
					p.stop()
				}
				if got := w.signers(w.verifySent()); !slices.Equal(got, test.want) {
					t.Errorf("signed by %q, want %q", got, test.want)
				}
			})
		})
	}
}

// An event of a caller that looks like an announcement, in what is recorded of the
// call, changes no key.
func TestOnlyTheLogAnnouncesKeys(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cfg.BatchEvents = 1
		p := w.start()
		p.settle()
		next := w.newKey()
		forged := `,"arguments":{"event_type":"log","action":"key_rotated","new":"` + next.Public + `"}`
		w.store.set(away)
		if err := p.tryAppend(audit.Synced, forged); err != nil {
			t.Fatal(err)
		}
		left := w.snapshot() // before its cut
		p.stop()
		w.store.set(nil)
		w.dir = left
		w.cfg.Keys = []*ledger.Key{next, w.keys[0]}
		p = w.start()
		p.settle()
		p.append(audit.Synced)
		p.settle()
		p.stop()
		if got, want := w.signers(w.verifySent()), []string{"0", "0+1 announces 1", "1"}; !slices.Equal(got, want) {
			t.Errorf("signed by %q, want %q", got, want)
		}
		for _, l := range w.verifySent() {
			if l.has(`"arguments"`) && len(strings.Split(w.get(ledger.SealKey(p.id.Writer, l.cut.Size)), "\n— ")) != 2 {
				t.Error("a caller changed the key")
			}
		}
	})
}

func TestUnannouncedKeyIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.start()
		p.settle()
		p.stop()
		w.cfg.Keys = []*ledger.Key{w.newKey()}
		for range 2 {
			_, err := w.open()
			if !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "audit.signing_key_files") {
				t.Errorf("Open returns %v", err)
			}
		}
	})
}
