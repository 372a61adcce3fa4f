package journal

import (
	"time"

	"github.com/sallyport/sallyport/audit"
)

// Levels of fullness, in percent.
const (
	levelWarn     = 70
	levelRefuse   = 90
	levelReadOnly = 95
	levelFull     = 100
)

// state is what a journal of this fullness does.
type state int32

// The states, the better ones first.
const (
	stateOK       state = iota
	stateWarn           // it fills up
	stateRefusing       // it refuses some events, or all; see Append
)

// Usage says how full the journal is.
type Usage struct {
	Bytes, Max int64
	Oldest     time.Duration // about, since the oldest event that wasn't released
}

// Usage returns how full the journal is.
func (j *Journal) Usage() Usage {
	u := Usage{Bytes: j.bytes(), Max: j.cfg.MaxBytes}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.ages) > 0 {
		u.Oldest = j.now().Sub(j.ages[0].at)
	}
	return u
}

func (j *Journal) bytes() int64 { return j.extra.Load() + j.others.Load() + j.seg.Load().used.Load() }

// level is how full the journal is, in percent. Without a prepared segment the rest
// of the current one is all that there is.
func (j *Journal) level() int64 {
	level := levelFull * j.bytes() / j.cfg.MaxBytes
	if j.starved.Load() && len(j.spare) == 0 {
		s := j.seg.Load()
		level = max(level, levelFull*s.used.Load()/s.size)
	}
	return level
}

// admits reports whether an event of the class may still be written.
func (j *Journal) admits(class audit.Class) bool {
	level := j.level()
	switch {
	case level < levelRefuse:
		return true
	case class&audit.Reserve != 0:
		return level < levelFull
	case j.cfg.ReadOnlyWhenFull && class&audit.Synced == 0:
		return level < levelReadOnly
	}
	return false
}

// measure finds out what the caller keeps, and says so if the state has changed.
func (j *Journal) measure() {
	if j.cfg.Extra != nil {
		j.extra.Store(j.cfg.Extra())
	}
	j.mu.Lock()
	j.recount()
	j.mu.Unlock()
	j.say(j.level())
}

// recount adds up the segments before the current one. It wants mu.
func (j *Journal) recount() {
	others := int64(0)
	for _, s := range j.segments[:len(j.segments)-1] {
		others += s.used.Load()
	}
	j.others.Store(others)
}

// say logs that the state has changed.
func (j *Journal) say(level int64) {
	now := stateOf(level)
	switch before := state(j.state.Swap(int32(now))); {
	case now == before:
	case now == stateRefusing:
		j.log.Error("the journal or its disk is nearly full, requests are refused until there is room", "percent", level)
	case now == stateWarn && before == stateOK:
		j.log.Warn("the journal fills up: its events are not archived", "percent", level)
	case before == stateRefusing:
		j.log.Info("the journal has room again", "percent", level)
	}
}

func stateOf(level int64) state {
	switch {
	case level >= levelRefuse:
		return stateRefusing
	case level >= levelWarn:
		return stateWarn
	}
	return stateOK
}

// ages remember when the journal had come to which number.
type ages []struct {
	next uint64
	at   time.Time
}

const (
	ageEvery = 100 * time.Millisecond
	maxAges  = 1024
)

// remember notes that the journal has come to a number.
func (a *ages) remember(next uint64, at time.Time) {
	all := *a
	n := len(all)
	if n > 0 && at.Sub(all[n-1].at) < ageEvery {
		all[n-1].next = max(all[n-1].next, next)
		return
	}
	if n == maxAges { // the first stays true, the rest gets coarser
		for i := range maxAges / 2 {
			all[i] = all[2*i]
		}
		all = all[:maxAges/2]
	}
	*a = append(all, struct {
		next uint64
		at   time.Time
	}{next, at})
}

// forget drops what was released.
func (a *ages) forget(before uint64) {
	n := 0
	for n < len(*a) && (*a)[n].next <= before {
		n++
	}
	*a = append((*a)[:0], (*a)[n:]...)
}
