package main_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// chaosCounts are what a run counts.
type chaosCounts struct {
	Keys            int            `json:"keys"`
	Effects         int            `json:"effects"`
	Duplicates      int            `json:"duplicates"`       // effects beyond the first of a key
	UnknownOutcomes int            `json:"unknown_outcomes"` // keys that end so
	LostAnswers     int            `json:"lost_answers"`     // of these: had their effect, and nobody ever saw its result
	Faults          map[string]int `json:"faults"`
}

// chaosResult is what became of one scenario.
type chaosResult struct {
	Scenario string  `json:"scenario"`
	Seconds  float64 `json:"seconds"`
	chaosCounts
	UnknownWithoutEffect   int            `json:"unknown_without_effect"`
	UnknownAfterSuccess    int            `json:"unknown_after_success"` // the claim's end was lost with a process
	KeysWithDisconnect     int            `json:"keys_with_disconnect"`
	UnknownAfterDisconnect float64        `json:"unknown_after_disconnect"` // share of these keys
	Acts                   map[act]int    `json:"upstream"`
	Answers                map[string]int `json:"answers"`
}

// chaosReport is all of them; its own counts are their sums.
type chaosReport struct {
	Seed    uint64  `json:"seed"`
	Seconds float64 `json:"seconds"`
	chaosCounts
	Scenarios []chaosResult `json:"scenarios"`
}

func (r *chaosReport) add(s chaosResult) {
	r.Scenarios = append(r.Scenarios, s)
	r.Seconds += s.Seconds
	r.Keys += s.Keys
	r.Effects += s.Effects
	r.Duplicates += s.Duplicates
	r.UnknownOutcomes += s.UnknownOutcomes
	r.LostAnswers += s.LostAnswers
	for name, n := range s.Faults {
		r.Faults[name] += n
	}
}

func (r *chaosReport) write(t *testing.T, path string) {
	t.Helper()
	text, err := json.MarshalIndent(r, "", "  ")
	must(t, err)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, append(text, '\n'), 0o644))
}

// judge compares what the clients were told with what the upstream did.
func (r *chaosRun) judge(t *testing.T) chaosResult {
	t.Helper()
	had, acted := r.upstream.counted()
	s := &r.result
	s.Acts, s.Answers = acted, r.answers
	var wrong []string
	unknownAfterDisconnect := 0
	for _, c := range r.clients {
		for _, k := range c.keys {
			effects := had[k.name]
			delete(had, k.name)
			if what := k.wrong(effects); what != "" {
				wrong = append(wrong, fmt.Sprintf("%s: %s; effects %v, told of %v, finally: %s", k.name, what, effects, k.effects, k.last))
			}
			s.Keys++
			s.Effects += len(effects)
			s.Duplicates += max(0, len(effects)-1)
			if k.dropped {
				s.KeysWithDisconnect++
			}
			if k.final == unknown {
				s.UnknownOutcomes++
				s.LostAnswers += one(len(effects) > 0 && len(k.effects) == 0)
				s.UnknownWithoutEffect += one(len(effects) == 0)
				s.UnknownAfterSuccess += one(len(k.effects) > 0)
				unknownAfterDisconnect += one(k.dropped)
			}
		}
	}
	s.UnknownAfterDisconnect = float64(unknownAfterDisconnect) / float64(max(1, s.KeysWithDisconnect))
	t.Log(s)
	for _, what := range wrong[:min(len(wrong), 20)] {
		t.Error(what)
	}
	if len(wrong) > 20 {
		t.Errorf("and %d more", len(wrong)-20)
	}
	if len(had) > 0 {
		t.Errorf("effects of keys that nobody sent: %v", had)
	}
	for _, a := range acts {
		if acted[a.act] == 0 {
			t.Errorf("the upstream never played %q", a.act)
		}
	}
	for _, f := range r.faults {
		if s.Faults[f.name] == 0 {
			t.Errorf("there was no fault %q", f.name)
		}
	}
	return *s
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// wrong is what must not be, if anything.
func (k *keyed) wrong(effects []string) string {
	switch {
	case len(effects) > 1:
		return "more than one effect"
	case k.heard[nonsense]:
		return "an answer that makes no sense"
	case len(k.effects) > 1:
		return "different results"
	case len(k.effects) == 1 && !slices.Equal(k.effects, effects):
		return "a result of no effect"
	case k.heard[declined] && len(effects) > 0:
		return "told that there is no effect"
	case k.final != succeeded && k.final != declined && k.final != unknown:
		return "no definite answer"
	case k.final == succeeded && len(effects) == 0:
		return "success without an effect"
	}
	return ""
}

// String is the table of a scenario.
func (s *chaosResult) String() string {
	var b strings.Builder
	row := func(what string, value any) { fmt.Fprintf(&b, "\n  %-50s %8v", what, value) }
	fmt.Fprintf(&b, "scenario %s, %.0f s", s.Scenario, s.Seconds)
	row("keys", s.Keys)
	row("effects", s.Effects)
	row("duplicates", s.Duplicates)
	row("unknown outcomes", s.UnknownOutcomes)
	row("  lost answers (effect, and nobody saw its result)", s.LostAnswers)
	row("  without an effect", s.UnknownWithoutEffect)
	row("  after a success that was seen", s.UnknownAfterSuccess)
	row("keys with a client's disconnect", s.KeysWithDisconnect)
	row("  unknown of these", fmt.Sprintf("%.1f %%", 100*s.UnknownAfterDisconnect))
	for _, name := range slices.Sorted(maps.Keys(s.Faults)) {
		row("fault: "+name, s.Faults[name])
	}
	for _, name := range slices.Sorted(maps.Keys(s.Acts)) {
		row("upstream: "+string(name), s.Acts[name])
	}
	for _, label := range slices.Sorted(maps.Keys(s.Answers)) {
		row("answer: "+label, s.Answers[label])
	}
	return b.String()
}
