package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// sign is a sign of life: an event of the log or the service about itself.
type sign struct {
	seq    uint64
	time   time.Time
	kind   string
	action string
}

func (s sign) opens() bool { return s.seq == 0 && s.kind == "log" && s.action == "opened" }

func (s sign) stops() bool { return s.kind == "service" && s.action == "stop" }

// mention says that one log saw how far another one was.
type mention struct {
	size uint64
	log  string
	seq  uint64
}

// own reads an event of the log or the service about itself.
func (c *content) own(leaf []byte, h head, seq uint64) error {
	var e struct {
		Type     string          `json:"event_type"`
		Action   string          `json:"action"`
		Log      string          `json:"log"`
		Metadata json.RawMessage `json:"metadata"`
	}
	if err := json.Unmarshal(leaf, &e); err != nil {
		return fmt.Errorf("it isn't JSON: %w", err)
	}
	c.signs = append(c.signs, sign{seq: seq, time: h.time, kind: e.Type, action: e.Action})
	if e.Type != "log" || e.Action != "heartbeat" && e.Action != "key_rotated" {
		return nil
	}
	var about struct {
		Peers map[string]uint64 `json:"peers"`
		New   string            `json:"new"`
	}
	if err := json.Unmarshal(e.Metadata, &about); err != nil {
		return errors.New("its metadata is not what a log writes")
	}
	if e.Action == "key_rotated" {
		c.announced = append(c.announced, announcement{seq: seq, public: about.New})
	}
	for writer, size := range about.Peers {
		if size > c.mentions[writer].size {
			c.mentions[writer] = mention{size: size, log: e.Log, seq: seq}
		}
	}
	return nil
}

// life is when a log last showed that its writer lived.
type life struct {
	last    sign
	stopped bool
}

// goesOn returns what is to be said about the time since the last sign.
func (l *life) goesOn(s sign, log string, gap time.Duration) (findings []Finding) {
	if silent := s.time.Sub(l.last.time); l.last.kind != "" && !l.stopped && silent > gap {
		findings = append(findings, finding(Warning, CheckHeartbeat, log, "", l.last.seq, s.seq,
			"no sign of life for %v from %s on, though the service had not stopped", silent.Round(time.Second), l.last.time.UTC().Format(time.RFC3339)))
	}
	l.last, l.stopped = s, s.stops()
	return findings
}

// take reports what was found under a seal; seals come in order.
func (c *chain) take(l *link) {
	r := c.run
	r.report.add(l.findings...)
	r.report.Objects++
	if l.size > 0 {
		r.opts.Progress(r.done+l.size, max(r.total, r.done+l.size))
	}
	if !l.trusted || l.beside {
		return
	}
	c.log.Origin, c.log.Size = c.origin, max(c.log.Size, l.size)
	c.log.Seals++
	if n := len(c.log.Keys); n == 0 || c.log.Keys[n-1] != l.signer {
		c.log.Keys = append(c.log.Keys, l.signer)
	}
	found := l.content
	r.report.add(found.findings...)
	c.log.Events += found.events
	r.report.Events += found.events
	for writer, m := range found.mentions {
		if m.size > r.mentions[writer].size {
			r.mentions[writer] = m
		}
	}
	c.takeIDs(l)
	if found.events < uint64(l.seal.Count()) { //nolint:gosec // it is positive
		c.life = life{} // signs may be among what is missing, which is reported
	}
	for _, s := range found.signs {
		r.report.add(c.life.goesOn(s, c.origin, r.opts.MaxHeartbeatGap)...)
	}
}

// takeIDs compares the ids with those of the seal before. Ids farther away can't be
// the same: the times in them would be too far from those around.
func (c *chain) takeIDs(l *link) {
	found := l.content
	for id := range found.ids {
		if _, twice := c.lastIDs[id]; twice {
			c.run.report.add(finding(Tampered, CheckForm, c.origin, l.key, l.seal.First, l.size-1,
				"the id %s is also that of an event under the seal before", id))
		}
	}
	c.lastIDs = found.ids
	if found.events == 0 {
		return
	}
	if c.newest > 0 && found.oldest.milli < c.newest-skew.Milliseconds() {
		c.run.report.add(finding(Warning, CheckClock, c.origin, l.key, found.oldest.seq, found.oldest.seq,
			"its id was made at %s, %v before that of an event under an earlier seal", time.UnixMilli(found.oldest.milli).UTC().Format(time.RFC3339),
			time.Duration(c.newest-found.oldest.milli)*time.Millisecond))
	}
	c.newest = max(c.newest, found.newest.milli)
	if first := time.UnixMilli(found.oldest.milli).UTC(); c.log.First.IsZero() || first.Before(c.log.First) {
		c.log.First = first
	}
	c.log.Last = time.UnixMilli(c.newest).UTC()
}

// finish says how the log ends.
func (c *chain) finish() {
	r := c.run
	r.done += c.end
	silent := r.opts.Now().Sub(c.life.last.time)
	if c.life.last.kind != "" && !c.life.stopped && silent > r.opts.MaxHeartbeatGap && r.period.to.IsZero() {
		r.report.add(finding(Warning, CheckHeartbeat, c.origin, "", c.life.last.seq, c.end-1,
			"no sign of life since %s, though the service had not stopped: what came after may be missing", c.life.last.time.UTC().Format(time.RFC3339)))
	}
}
