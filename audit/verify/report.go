package verify

import (
	"fmt"
	"time"

	"github.com/sallyport/sallyport/audit/archive"
)

// Severity says what a finding means.
type Severity string

// Severities.
const (
	Tampered   Severity = "tampered"   // something was changed, added or taken away
	Incomplete Severity = "incomplete" // something hasn't come yet
	Warning    Severity = "warning"    // a person should look; proves nothing
)

// Finding is one thing that is wrong.
type Finding struct {
	Severity Severity `json:"severity"`
	Check    string   `json:"check"` // which one; see the constants
	Log      string   `json:"log,omitempty"`
	Object   string   `json:"object,omitempty"`
	Version  string   `json:"version,omitempty"`
	From     uint64   `json:"from"` // sequence numbers, both included
	To       uint64   `json:"to"`
	Events   bool     `json:"events"` // From and To say something
	Message  string   `json:"message"`

	what string // Message without where
	more int    // further objects of which the same is true
}

// Checks that can fail.
const (
	CheckSeal      = "seal"      // a seal can't be read, or lies in another's place
	CheckKey       = "key"       // no trusted key signed it
	CheckGap       = "gap"       // sequence numbers without a seal
	CheckFork      = "fork"      // two histories of one log
	CheckRoot      = "root"      // events don't make the tree that was signed
	CheckBatch     = "batch"     // a batch is missing, or not as it was sealed
	CheckEvent     = "event"     // an event is not as it was sealed
	CheckObject    = "object"    // an event's own object is missing, or not as it was sealed
	CheckForm      = "form"      // an event is sealed but isn't one, or two have one id
	CheckClock     = "clock"     // times that can't be
	CheckExtra     = "extra"     // an object that no seal promises
	CheckVersion   = "version"   // a second version, or a delete marker
	CheckLock      = "lock"      // an object isn't protected as it should be
	CheckAnchor    = "anchor"    // a seal that was kept elsewhere is not in the archive
	CheckRoster    = "roster"    // a log, or its end, is missing that others saw
	CheckHeartbeat = "heartbeat" // a log was silent
	CheckIndex     = "index"     // the index says something else
)

// Log is what was verified of one log.
type Log struct {
	Origin string    `json:"origin"`
	Writer string    `json:"writer"`
	From   uint64    `json:"from"` // sequence of the first verified event
	Size   uint64    `json:"size"` // where the last verified seal ends
	Events uint64    `json:"events"`
	Seals  int       `json:"seals"`
	First  time.Time `json:"first,omitzero"` // of the verified events, by their ids
	Last   time.Time `json:"last,omitzero"`
	Keys   []string  `json:"keys"` // that signed, name+hash, in order
	Found  int       `json:"findings"`
}

// Report is what Verify found.
type Report struct {
	Store    string    `json:"store"`
	WORM     bool      `json:"worm"`
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"`
	From     string    `json:"from,omitempty"` // days, if there was a limit
	To       string    `json:"to,omitempty"`
	Sample   float64   `json:"sample"`
	Events   uint64    `json:"events"` // verified
	Objects  uint64    `json:"objects"`
	Logs     []Log     `json:"logs"`
	Findings []Finding `json:"findings"` // the first MaxFindings
	Found    int       `json:"found"`    // how many there are
	Failed   string    `json:"failed,omitempty"`
	Strict   bool      `json:"strict,omitempty"`

	worst map[Severity]bool
}

// MaxFindings bounds how many findings a report lists; all are counted.
const MaxFindings = 1000

func newReport(store archive.Store, opts Options) *Report {
	r := &Report{
		Store: store.String(), WORM: store.WORM(), Started: opts.Now().UTC(), Sample: opts.Sample, Strict: opts.Strict,
		Logs: []Log{}, Findings: []Finding{},
	}
	if !opts.From.IsZero() {
		r.From = opts.From.UTC().Format(time.DateOnly)
	}
	if !opts.To.IsZero() {
		r.To = opts.To.UTC().Format(time.DateOnly)
	}
	return r
}

// ExitCode is 0 if all is well, 1 if something was tampered with or is missing, 2
// if something hasn't come yet, or there is nothing in the period, and 3 if that couldn't be found out.
func (r *Report) ExitCode() int {
	switch {
	case r.has(Tampered):
		return 1
	case r.Failed != "":
		return 3
	case r.has(Incomplete), r.Strict && r.has(Warning), r.Events == 0:
		return 2
	}
	return 0
}

func (r *Report) has(s Severity) bool {
	if r.worst[s] {
		return true
	}
	for _, f := range r.Findings { // of a report that was read
		if f.Severity == s {
			return true
		}
	}
	return false
}

// add lists findings. One that goes on where the last one ends becomes a part of
// it, if it says the same.
func (r *Report) add(findings ...Finding) {
	for _, f := range findings {
		if r.worst == nil {
			r.worst = make(map[Severity]bool)
		}
		r.worst[f.Severity] = true
		if r.goesOn(f) {
			continue
		}
		r.Found++
		if len(r.Findings) < MaxFindings {
			r.Findings = append(r.Findings, f)
		}
	}
}

// goesOn reports whether the finding is one more like the last one, and makes it a
// part of that: a wrong key is one thing to know, not one for each seal.
func (r *Report) goesOn(f Finding) bool {
	if len(r.Findings) == 0 || f.Check != CheckKey || r.Found > len(r.Findings) {
		return false
	}
	last := &r.Findings[len(r.Findings)-1]
	if last.Check != f.Check || last.Log != f.Log || last.what != f.what || f.From != last.To+1 {
		return false
	}
	last.To = f.To
	last.more++
	last.Message = fmt.Sprintf("%s and %d more: %s: %s", last.Object, last.more, numbers(last.From, last.To), last.what)
	return true
}

// finding says that something is wrong with events of an object.
func finding(s Severity, check, log, object string, from, to uint64, what string, args ...any) Finding {
	what = fmt.Sprintf(what, args...)
	where := object
	if where == "" {
		where = log
	}
	return Finding{
		Severity: s, Check: check, Log: log, Object: object, From: from, To: to, Events: true, what: what,
		Message: fmt.Sprintf("%s: %s: %s", where, numbers(from, to), what),
	}
}

// remark says that something is wrong that has no sequence number.
func remark(s Severity, check, log, object, what string, args ...any) Finding {
	what = fmt.Sprintf(what, args...)
	where := object
	if where == "" {
		where = log
	}
	return Finding{Severity: s, Check: check, Log: log, Object: object, Message: fmt.Sprintf("%s: %s", where, what)}
}

// numbers names a range of events, both ends included.
func numbers(from, to uint64) string {
	if from == to {
		return fmt.Sprintf("event %d", from)
	}
	return fmt.Sprintf("events %d to %d", from, to)
}
