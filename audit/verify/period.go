package verify

import (
	"time"

	"github.com/sallyport/sallyport/audit/ledger"
)

const day = 24 * time.Hour

// skew is how far clocks and the order of events may be off.
const (
	skew    = 10 * time.Minute // an event behind another of its log
	skewFwd = time.Minute      // an event before the clock of its seal
)

// underWay is how old what isn't everywhere yet may be, without that being worth a
// word: a verification may run while events are written.
const underWay = time.Minute

// period is a range of whole days in UTC; a zero end is no limit.
type period struct {
	from, to time.Time // to isn't included
}

func newPeriod(from, to time.Time) period {
	var p period
	if !from.IsZero() {
		p.from = from.UTC().Truncate(day)
	}
	if !to.IsZero() {
		p.to = to.UTC().Truncate(day).Add(day)
	}
	return p
}

// precedes reports whether the seal surely has no event of the period or of a later
// time.
func (p period) precedes(s *storedSeal) bool {
	return !p.from.IsZero() && s.Time.Before(p.from.Add(-skew))
}

// follows reports whether the seal has no event of the period or of an earlier
// time. What was sealed late is still the period's: so its events count, and its
// time only beside them.
func (p period) follows(s *ledger.Seal) bool {
	if p.to.IsZero() || s.Time.Before(p.to.Add(skew)) {
		return false
	}
	first, ok := sealDay(s)
	return !ok || !first.Before(p.to)
}

// sealDay is the day of the seal's events, of which it names the first.
func sealDay(s *ledger.Seal) (time.Time, bool) {
	if s.Batch == nil {
		return ledger.ID(s.IDs[:16]).Time().Truncate(day), true
	}
	if len(s.Batch.Key) < len(dayLayout) {
		return time.Time{}, false
	}
	t, err := time.Parse(dayLayout, s.Batch.Key[:len(dayLayout)])
	return t, err == nil
}

const dayLayout = ledger.Prefix + "year=2006/month=01/day=02/"

// dayOf is the day's prefix of the key of a batch or an event; empty: it is in none.
func dayOf(key string) string {
	if len(key) < len(dayDigits) {
		return ""
	}
	for i := range len(dayDigits) {
		digit := dayDigits[i] == '0' && key[i] >= '0' && key[i] <= '9'
		if key[i] != dayDigits[i] && !digit {
			return ""
		}
	}
	return key[:len(dayDigits)]
}

const dayDigits = ledger.Prefix + "year=0000/month=00/day=00/"

// firstDay begins the keys of the period; empty: no limit.
func (p period) firstDay() string {
	if p.from.IsZero() {
		return ""
	}
	return ledger.DayPrefix(p.from)
}

// after reports whether the key is of a day after the period.
func (p period) after(key string) bool {
	return !p.to.IsZero() && key >= ledger.DayPrefix(p.to)
}

// has reports whether the day with the prefix is one of the period.
func (p period) has(day string) bool { return day >= p.firstDay() && !p.after(day) }
