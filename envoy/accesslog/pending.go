package accesslog

import (
	"encoding/hex"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcomes are waited for in minutes of decisions: the one that a decision's id,
// a UUIDv7, was made in. So nothing is kept for a single decision.
const (
	bucketWidth = time.Minute
	buckets     = 16
	// patience is after which time an outcome is unknown. One that comes later,
	// of a long event stream, is taken off again.
	patience = 5 * time.Minute
)

// Pending counts decisions whose outcome has not come. An Envoy may send its log
// to another replica than it asked, so only the sum over all replicas is exact,
// and one replica's can be negative. It is safe for concurrent use.
type Pending struct {
	now    func() time.Time
	counts [buckets]atomic.Int64 // decisions less outcomes of one minute
	closed atomic.Int64          // of all minutes that are past patience
	swept  atomic.Int64          // the last minute that was closed
}

// NewPending returns a count of nothing. It registers the metric.
func NewPending(registerer prometheus.Registerer, now func() time.Time) *Pending {
	p := &Pending{now: now}
	p.swept.Store(lastPast(now()))
	registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sallyport_outcomes_unknown",
		Help: "Allowed requests outside ext_proc whose outcome never came. Sum it over all replicas.",
	}, func() float64 { return float64(p.Unknown()) }))
	return p
}

// lastPast is the last minute of which all of it is past patience.
func lastPast(now time.Time) int64 { return minuteOf(now.Add(-patience)) - 1 }

func minuteOf(t time.Time) int64 { return t.UnixMilli() / bucketWidth.Milliseconds() }

// Expect notes an allowed request that skips ext_proc.
func (p *Pending) Expect(decided time.Time) {
	if minuteOf(decided)-p.swept.Load() >= buckets {
		p.Unknown() // or the minute would be counted in the place of an older one
	}
	p.counts[minuteOf(decided)%buckets].Add(1)
}

// arrived notes its outcome.
func (p *Pending) arrived(decisionID string) {
	decided, ok := timeOf(decisionID)
	switch {
	case !ok || decided.After(p.now().Add(bucketWidth)):
	case minuteOf(decided) <= p.swept.Load():
		p.closed.Add(-1)
	default:
		p.counts[minuteOf(decided)%buckets].Add(-1)
	}
}

// Unknown closes the minutes that are past patience and returns how many
// outcomes never came.
func (p *Pending) Unknown() int64 {
	for last := lastPast(p.now()); ; {
		swept := p.swept.Load()
		if swept >= last {
			return p.closed.Load()
		}
		if p.swept.CompareAndSwap(swept, swept+1) {
			p.closed.Add(p.counts[(swept+1)%buckets].Swap(0))
		}
	}
}

// timeOf reads the time of a UUIDv7 (RFC 9562 §5.7): its first 48 bits.
func timeOf(id string) (time.Time, bool) {
	var ms [6]byte
	if len(id) != 36 || id[14] != '7' {
		return time.Time{}, false
	}
	if _, err := hex.Decode(ms[:], []byte(strings.Replace(id[:13], "-", "", 1))); err != nil {
		return time.Time{}, false
	}
	n := int64(0)
	for _, b := range ms {
		n = n<<8 | int64(b)
	}
	return time.UnixMilli(n), true
}
