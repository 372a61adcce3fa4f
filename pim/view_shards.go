package pim

import (
	"hash/maphash"
	"maps"
	"time"
)

// shards hold what matters, by holder. They never change: a change copies the shard
// that it is in and leaves the others, so that it costs the same however many grants
// there are.
type shards [256]map[Holder]*holding

func (v *View) shardOf(h Holder) uint8 {
	return uint8(maphash.String(v.seed, h.PrincipalID)) //nolint:gosec // its last eight bits
}

// of returns what a holder has; nil: nothing.
func (v *View) of(h Holder) *holding { return v.shards.Load()[v.shardOf(h)][h] }

// holding is what one holder has. It doesn't change.
type holding struct {
	grant, glass lasting // the longest of each
	lifts        []span  // elevations of any kind, which lift revocations
	revocations  []span  // of elevations; from is when
	pending      string  // an elevation
	calls        map[[32]byte]approvals
}

type lasting struct {
	id    string
	until time.Time
}

// longer is the one that lasts longer, at the same time that with the greater id.
func (l lasting) longer(id string, until time.Time) lasting {
	if until.After(l.until) || until.Equal(l.until) && id > l.id {
		return lasting{id, until}
	}
	return l
}

type span struct{ from, until time.Time }

type approvals struct {
	pending         string
	approved, spent lasting
}

// revokedAt is when the newest revocation was that still counts; zero: none does.
func (h *holding) revokedAt(now time.Time) time.Time {
	var at time.Time
	for i := range h.revocations {
		if r := &h.revocations[i]; now.Before(r.until) && r.from.After(at) {
			at = r.from
		}
	}
	for i := range h.lifts {
		if l := &h.lifts[i]; now.Before(l.until) && l.from.After(at) {
			return time.Time{}
		}
	}
	return at
}

// newHolding adds up the rows of one holder; nil if they come to nothing.
func newHolding(rows []row) *holding {
	if len(rows) == 0 {
		return nil
	}
	h := &holding{}
	for i := range rows {
		if rows[i].kind == Elevation {
			h.addElevation(&rows[i])
		} else {
			h.addCall(&rows[i])
		}
	}
	return h
}

func (h *holding) addElevation(r *row) {
	switch r.state {
	case Pending:
		h.pending = max(h.pending, r.id)
	case Revoked:
		h.revocations = append(h.revocations, span{r.ended, r.until})
	case Approved:
		h.lifts = append(h.lifts, span{r.starts, r.until})
		switch {
		case r.provider != "": // its word counts, not ours
		case r.breakGlass:
			h.glass = h.glass.longer(r.id, r.until)
		default:
			h.grant = h.grant.longer(r.id, r.until)
		}
	}
}

func (h *holding) addCall(r *row) {
	if h.calls == nil {
		h.calls = make(map[[32]byte]approvals)
	}
	call := h.calls[r.fingerprint]
	switch r.state {
	case Pending:
		call.pending = max(call.pending, r.id)
	case Approved:
		call.approved = call.approved.longer(r.id, r.until)
	case Spent:
		call.spent = call.spent.longer(r.id, r.until)
	}
	h.calls[r.fingerprint] = call
}

// apply takes rows over that are newer than what is known, and publishes the result.
func (v *View) apply(rows []row) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.publish(v.takeOver(rows))
}

// takeOver returns the holders of what has changed. What doesn't matter any more is
// kept until all is read anew: an older answer that is still on its way must not
// bring it back.
func (v *View) takeOver(rows []row) map[Holder]struct{} {
	changed := make(map[Holder]struct{})
	for i := range rows {
		r := &rows[i]
		if old, ok := v.rows[r.id]; ok && old.change >= r.change {
			continue
		}
		v.rows[r.id] = *r
		v.newest = max(v.newest, r.change)
		if v.byHolder[r.holder] == nil {
			v.byHolder[r.holder] = make(map[string]struct{})
		}
		v.byHolder[r.holder][r.id] = struct{}{}
		changed[r.holder] = struct{}{}
	}
	return changed
}

// publish makes the holdings of some holders anew.
func (v *View) publish(changed map[Holder]struct{}) {
	if len(changed) == 0 {
		return
	}
	next := *v.shards.Load()
	var copied [len(next)]bool
	for h := range changed {
		n := v.shardOf(h)
		if !copied[n] {
			copied[n], next[n] = true, maps.Clone(next[n])
		}
		held := newHolding(v.mattering(h))
		switch {
		case held == nil:
			delete(next[n], h)
		case next[n] == nil:
			next[n] = map[Holder]*holding{h: held}
		default:
			next[n][h] = held
		}
	}
	v.shards.Store(&next)
}

func (v *View) mattering(h Holder) []row {
	var rows []row
	for id := range v.byHolder[h] {
		if r := v.rows[id]; !r.until.IsZero() {
			rows = append(rows, r)
		}
	}
	return rows
}

// drop removes rows and returns their holders.
func (v *View) drop(unwanted func(*row) bool) map[Holder]struct{} {
	changed := make(map[Holder]struct{})
	for id, r := range v.rows {
		if !unwanted(&r) {
			continue
		}
		delete(v.rows, id)
		if delete(v.byHolder[r.holder], id); len(v.byHolder[r.holder]) == 0 {
			delete(v.byHolder, r.holder)
		}
		changed[r.holder] = struct{}{}
	}
	return changed
}

// replace makes rows all that is known as of a change. What was applied after it is
// kept, unless the database has gone back in time. An answer that was read before the
// polls have read everything may be of another database.
func (v *View) replace(rows []row, change, generation uint64, why loading) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.generation.Load() != generation {
		return
	}
	back := why == anew && v.loaded
	if back {
		v.seen, v.newest = 0, 0
	}
	if why != beside {
		v.generation.Add(1)
		v.loaded = true
		v.reach(change)
	}
	there := make(map[string]*row, len(rows))
	for i := range rows {
		there[rows[i].id] = &rows[i]
	}
	// Numbers don't tell which of two is the right one if the database was restored.
	changed := v.drop(func(r *row) bool {
		is := there[r.id]
		return back || r.change <= change && (is == nil || *is != *r)
	})
	maps.Copy(changed, v.takeOver(rows))
	v.publish(changed)
}

// advance says that everything up to a change is known.
func (v *View) advance(change uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reach(change)
}

func (v *View) reach(change uint64) {
	v.seen = max(v.seen, change)
	v.newest = max(v.newest, change)
}

// position is up to which change everything is known, if anything is, and the greatest
// change that there was.
func (v *View) position() (seen, newest uint64, loaded bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.seen, v.newest, v.loaded
}

// counts are of what is pending or in force at a time of the database.
func (v *View) counts(now time.Time) (pending, live, breakGlass int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.rows {
		switch {
		case !now.Before(r.until):
		case r.state == Pending:
			pending++
		case r.state == Approved:
			live++
			if r.breakGlass {
				breakGlass++
			}
		}
	}
	return pending, live, breakGlass
}
