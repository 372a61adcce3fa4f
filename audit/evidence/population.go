package evidence

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
	"github.com/sallyport/sallyport/audit/verify"
)

// Counts is the population of one day.
type Counts struct {
	Day    string         `json:"day"`
	Events int            `json:"events"`
	By     map[string]int `json:"by"` // event type and status
	// Unread is how many more there are that are missing or not as they were
	// sealed, by the day on which those under their seal begin.
	Unread  uint64   `json:"unread,omitempty"`
	Objects []string `json:"unread_objects,omitempty"` // where they should be; seals that can't be read
}

// population is what was recorded in the period.
type population struct {
	in             Input
	byDay          map[string]*Counts
	administration bytes.Buffer // acts of operators and the service, as recorded
	sampled        []sample
	seen           int
	unread         uint64
	chance         *rand.Rand
	codec          *ledger.Codec
}

func (p *population) days() []Counts {
	list := make([]Counts, 0, len(p.byDay))
	for _, day := range slices.Sorted(maps.Keys(p.byDay)) {
		list = append(list, *p.byDay[day])
	}
	return list
}

func (p *population) day(t time.Time) *Counts {
	day := t.UTC().Format(time.DateOnly)
	if p.byDay[day] == nil {
		p.byDay[day] = &Counts{Day: day, By: make(map[string]int)}
	}
	return p.byDay[day]
}

// read reads every event of the period once.
func read(ctx context.Context, in Input) (*population, error) {
	codec, err := ledger.NewCodec()
	if err != nil {
		return nil, err
	}
	defer codec.Close()
	p := &population{
		in: in, byDay: make(map[string]*Counts), sampled: []sample{}, codec: codec,
		chance: rand.New(rand.NewPCG(in.Seed, in.Seed)), //nolint:gosec // chooses samples
	}
	writers, err := in.Store.Folders(ctx, ledger.SealPrefix)
	if err != nil {
		return nil, fmt.Errorf("list the logs: %w", err)
	}
	for _, writer := range writers {
		if err := p.log(ctx, writer); err != nil {
			return nil, fmt.Errorf("log %s: %w", writer, err)
		}
	}
	return p, nil
}

// log counts the events of a log. Seals aren't verified here.
func (p *population) log(ctx context.Context, writer string) error {
	var end uint64
	var before time.Time // when the last seal was made
	known := false       // where the log goes on
	var broken []string  // seals since then: what they cover is missing below the next one
	for s, err := range verify.Seals(ctx, p.in.Store, writer, p.in.Verify.From, p.in.Verify.To) {
		switch {
		case err != nil:
			return err
		case s.Seal == nil:
			broken = append(broken, s.Key)
			continue
		case !known && s.Seal.Time.Before(p.in.Verify.From):
			end = s.Seal.First // the one before the period
		case !known:
			before = s.Day
		}
		known = true
		p.broken(broken, before, s.Seal.Time)
		broken = nil
		if s.Seal.First > end {
			p.miss(before, s.Seal.Time, s.Seal.First-end, ledger.SealKey(writer, s.Seal.First))
		}
		if err := p.seal(ctx, s, max(end, s.Seal.First)); err != nil {
			return err
		}
		end, before = max(end, s.Seal.Size), s.Seal.Time
	}
	p.broken(broken, before, p.in.Now)
	return nil
}

// broken names seals that can't be read; how many events they cover only the next
// one tells.
func (p *population) broken(keys []string, before, after time.Time) {
	if before.IsZero() {
		before = after
	}
	for _, key := range keys {
		p.miss(before, after, 0, key)
	}
}

// seal counts the events under a seal from a sequence number on: those before were
// counted under another.
func (p *population) seal(ctx context.Context, s verify.Sealed, from uint64) error {
	var batch [][]byte
	if s.Seal.Batch != nil {
		var err error
		batch, err = archive.Leaves(ctx, p.in.Store, p.codec, s.Seal)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || len(batch) != s.Seal.Count() {
			batch = make([][]byte, s.Seal.Count())
		}
	}
	for seq := from; seq < s.Seal.Size; seq++ {
		offset := int(seq - s.Seal.First) //nolint:gosec // a seal covers few
		day, object, leaf := s.Day, "", []byte(nil)
		if batch != nil {
			object, leaf = s.Seal.Batch.Key, batch[offset]
		} else {
			day, object, leaf = p.single(ctx, s, offset)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		event, err := audit.Parse(leaf)
		if err != nil || !s.Seal.Marked(offset, ledger.LeafHash(leaf)) {
			p.miss(day, s.Seal.Time, 1, object)
		} else if p.covers(event.Timestamp) {
			p.count(event, s.Key)
		}
	}
	return nil
}

// single reads an event that is an object of its own; nil: it can't be read.
func (p *population) single(ctx context.Context, s verify.Sealed, offset int) (made time.Time, key string, leaf []byte) {
	id := s.Seal.ID(offset)
	key, err := ledger.EventKey(id)
	if err != nil {
		return s.Day, id, nil
	}
	if made, err = ledger.IDTime(id); err != nil {
		return s.Day, key, nil
	}
	leaf, err = p.in.Store.Get(ctx, key, "")
	if err != nil {
		return made, key, nil
	}
	return made, key, leaf
}

// miss counts events that can't be read, if they may be of the period. They were
// recorded between two times.
func (p *population) miss(first, sealed time.Time, n uint64, object string) {
	day := first.UTC().Truncate(24 * time.Hour)
	if from := p.in.Verify.From.UTC().Truncate(24 * time.Hour); day.Before(from) {
		day = from
	}
	if !p.covers(day) || sealed.Before(day) && first.Before(day) {
		return
	}
	c := p.day(day)
	c.Unread += n
	p.unread += n
	if len(c.Objects) == 0 || c.Objects[len(c.Objects)-1] != object {
		c.Objects = append(c.Objects, object)
	}
}

// covers reports whether the time is on one of the period's days.
func (p *population) covers(t time.Time) bool {
	day := t.UTC().Truncate(24 * time.Hour)
	from, to := p.in.Verify.From, p.in.Verify.To
	return (from.IsZero() || !day.Before(from.UTC().Truncate(24*time.Hour))) && (to.IsZero() || !day.After(to.UTC()))
}

// count counts the event, and may choose it as a sample: each with the same chance,
// however many there are (reservoir sampling).
func (p *population) count(e *audit.Event, seal string) {
	c := p.day(e.Timestamp)
	c.Events++
	c.By[strings.TrimSuffix(e.EventType+" "+e.Status, " ")]++
	if e.EventType == "operator" || e.EventType == "service" {
		p.administration.Write(e.Raw)
		p.administration.WriteByte('\n')
	}
	p.seen++
	if len(p.sampled) < p.in.Samples {
		p.sampled = append(p.sampled, sample{Event: e.EventID, Seal: seal})
	} else if i := p.chance.IntN(p.seen); i < p.in.Samples {
		p.sampled[i] = sample{Event: e.EventID, Seal: seal}
	}
}
