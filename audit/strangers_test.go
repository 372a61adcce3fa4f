package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// TestStrangers: a source has its own events up to its rate; the rest is counted,
// and nothing is lost.
func TestStrangers(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := NewStrangers(2)
	own := 0
	for i := range 1000 {
		if !s.Counted("192.0.2.1", "authentication.missing", now.Add(time.Duration(i)*time.Millisecond)) {
			own++
		}
	}
	if own < 20 || own > 22 {
		t.Errorf("%d denials have their own event, want the burst of 20 and two seconds' worth", own)
	}
	if s.Counted("192.0.2.2", "authentication.missing", now) {
		t.Error("another source's first denial was counted")
	}
	var got struct {
		EventType string `json:"event_type"`
		Metadata  struct {
			Source, Reason, First, Last string
			Count                       int
		}
	}
	lines := s.Flush(now.Add(time.Second))
	if err := json.Unmarshal(lines, &got); err != nil {
		t.Fatalf("%v: %s", err, lines)
	}
	m := got.Metadata
	if got.EventType != "denials" || m.Source != "192.0.2.1" || m.Reason != "authentication.missing" || m.Count != 1000-own {
		t.Errorf("counted %s", lines)
	}
	if m.First == "" || m.Last != "2026-03-01T12:00:00.999000Z" {
		t.Errorf("first %s, last %s", m.First, m.Last)
	}
	if again := s.Flush(now.Add(time.Second)); len(again) != 0 {
		t.Errorf("counted twice: %s", again)
	}
	s.Flush(now.Add(time.Hour))
	if len(s.sources) != 0 {
		t.Errorf("%d quiet sources are remembered", len(s.sources))
	}
}

// TestManyStrangers: their memory is bounded, and what doesn't fit is counted
// together.
func TestManyStrangers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := NewStrangers(1)
	const sources, each = maxSources + 500, 20
	own := 0
	for i := range sources {
		for range each {
			if !s.Counted(fmt.Sprintf("2001:db8::%x", i), "authentication.missing", now) {
				own++
			}
		}
	}
	if len(s.sources) > maxSources+1 {
		t.Errorf("%d sources are remembered", len(s.sources))
	}
	total := own
	for line := range bytes.Lines(s.Flush(now)) {
		var e struct{ Metadata struct{ Count int } }
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		total += e.Metadata.Count
	}
	if total != sources*each {
		t.Errorf("%d denials are accounted for, there were %d", total, sources*each)
	}
}

// TestAllStrangers: many sources together have a rate, too.
func TestAllStrangers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := NewStrangers(1)
	own := 0
	for i := range 1000 {
		if !s.Counted(fmt.Sprint(i), "authentication.missing", now) {
			own++
		}
	}
	if own != allSources*10 {
		t.Errorf("%d denials of 1000 sources have their own event, want %d", own, allSources*10)
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.7": "192.0.2.0/24", "::ffff:192.0.2.7": "192.0.2.0/24", "2001:db8:1:2:3::4": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "nobody": "", "": "",
	} {
		if got := Network(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}
