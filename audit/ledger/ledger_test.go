package ledger

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

const someID = "019ca944-9c00-7abc-8def-0123456789ab"

func TestKeys(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 23, 30, 0, 0, time.FixedZone("", -3600)) // the next day in UTC
	if got := BatchKey("gw-1", 255, 12, at); got != "audit-logs/year=2026/month=03/day=02/batch-gw-1-00000000000000ff-12.ndjson.zst" {
		t.Error(got)
	}
	key := SealKey("gw-1", 255)
	if key != "audit-logs/_checkpoints/gw-1/00000000000000ff" {
		t.Error(key)
	}
	if writer, size, err := ParseSealKey(key); err != nil || writer != "gw-1" || size != 255 {
		t.Errorf("%s, %d, %v", writer, size, err)
	}
	for _, bad := range []string{
		"", key + "0", key[:len(key)-1], strings.ToUpper(key), "audit-logs/_checkpoints/gw-1/00000000000000FF",
		"audit-logs/_checkpoints/gw-1/+0000000000000ff", "audit-logs/_checkpoints/gw-1/a/00000000000000ff", "other/gw-1/00000000000000ff",
	} {
		if _, _, err := ParseSealKey(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if got, err := EventKey(someID); err != nil || got != "audit-logs/year=2026/month=03/day=01/"+someID+".json" {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := EventKey("../x"); err == nil {
		t.Error("a path was accepted as an id")
	}
}

func TestParseID(t *testing.T) {
	t.Parallel()
	id, ok := ParseID([]byte(someID))
	if !ok || id.String() != someID || id.Milli() != 0x019ca9449c00 || id.Time() != time.UnixMilli(0x019ca9449c00).UTC() {
		t.Errorf("%v, %s, %v", ok, id, id.Time())
	}
	bad := []string{
		"", someID[:35], someID + "0", strings.ToUpper(someID), "019ca9449c00-7abc-8def-0123456789ab-",
		"019ca944-9c00-4abc-8def-0123456789ab", "019ca944-9c00-7abc-7def-0123456789ab", "019ca944-9c00-7abc-cdef-0123456789ab",
		"019ca94g-9c00-7abc-8def-0123456789ab", "019ca944-9c00-7abc-8def-0123456789 b", "019ca944_9c00_7abc_8def_0123456789ab",
	}
	for _, text := range bad {
		if _, ok := ParseID([]byte(text)); ok {
			t.Errorf("%q was accepted", text)
		}
		if _, err := IDTime(text); err == nil {
			t.Errorf("%q has a time", text)
		}
	}
}

func TestLeaf(t *testing.T) {
	t.Parallel()
	event := `{"event_id":"` + someID + `","timestamp":"2026-03-01T12:00:00Z","event_type":"decision","metadata":{"log":"a","seq":9}}`
	leaf := AppendLeaf([]byte("kept"), []byte(event), "example.com/gw-1", 42)[len("kept"):]
	if want := event[:len(event)-1] + `,"log":"example.com/gw-1","seq":42}`; string(leaf) != want {
		t.Errorf("%s\nwant %s", leaf, want)
	}
	if origin, seq, ok := Place(leaf); !ok || origin != "example.com/gw-1" || seq != 42 || Writer(origin) != "gw-1" {
		t.Errorf("%s, %d, %v", origin, seq, ok)
	}
	if LeafID(leaf) != someID || LeafType(leaf) != "decision" {
		t.Errorf("%s, %s", LeafID(leaf), LeafType(leaf))
	}
	for _, bad := range []string{
		"", "{}", event, string(leaf) + " ", string(leaf[:len(leaf)-1]), string(leaf[:len(leaf)-2]) + "}}", `,"log":"`, `,"log":"","seq":`,
		`{,"log":"a","seq":042}`, `{,"log":"a","seq":-1}`, `{,"log":"a","seq":9223372036854775808}`, `{,"log":"a","seq":1,"x":2}`,
		`{,"log":"` + strings.Repeat("a", maxPlace) + `","seq":1}`,
	} {
		if origin, seq, ok := Place([]byte(bad)); ok {
			t.Errorf("%.100q: %s, %d", bad, origin, seq)
		}
	}
	for _, bad := range []string{"", "{}", strings.Replace(event, "event_id", "event_no", 1), event[:40]} {
		if LeafID([]byte(bad)) != "" {
			t.Errorf("%q has an id", bad)
		}
	}
	if LeafType([]byte(strings.Repeat(" ", 300)+event)) != "" || LeafType([]byte(`"event_type":"x`)) != "" {
		t.Error("a type where there is none")
	}
	if LeafHash(leaf) == LeafHash(append(bytes.Clone(leaf), ' ')) {
		t.Error("two leaves with one hash")
	}
}

func TestValidWriter(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"gw-0a1b2c3d": true, "a": true, "Host.example-1": true, strings.Repeat("a", 64): true,
		"": false, "-a": false, ".": false, "a/b": false, "a b": false, "a_b": false, strings.Repeat("a", 65): false, "é": false, "a\n": false,
	} {
		if err := ValidWriter(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
