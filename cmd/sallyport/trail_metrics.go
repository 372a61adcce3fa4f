package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// trailMetrics shows how far events have come. Its series are fixed.
type trailMetrics struct {
	trail                                       *trail
	events, bytes, maxBytes, waiting, age, fail *prometheus.Desc
}

func newTrailMetrics(t *trail) *trailMetrics {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sallyport_audit_"+name, help, labels, nil)
	}
	return &trailMetrics{
		trail:    t,
		events:   describe("events", "Events of this log that have come to a stage: recorded, synced, sealed, archived, indexed.", "stage"),
		bytes:    describe("journal_bytes", "Bytes that the journal and what waits for the archive take."),
		maxBytes: describe("journal_max_bytes", "Bytes that they may take; requests are refused before."),
		waiting:  describe("waiting_batches", "Sealed batches that are not in the archive yet."),
		age:      describe("unsealed_seconds", "Age of the oldest event that is not sealed yet."),
		fail:     describe("failing", "1 while a part fails: cut, archive, index, heartbeat.", "part"),
	}
}

// Describe implements prometheus.Collector.
func (m *trailMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.events, m.bytes, m.maxBytes, m.waiting, m.age, m.fail} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *trailMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	s, u := m.trail.pipeline.Status(), m.trail.journal.Usage()
	for stage, n := range map[string]uint64{"recorded": s.Next, "synced": s.Synced, "sealed": s.Sealed, "archived": s.Archived, "indexed": s.Indexed} {
		gauge(m.events, float64(n), stage)
	}
	gauge(m.bytes, float64(u.Bytes))
	gauge(m.maxBytes, float64(u.Max))
	gauge(m.waiting, float64(s.Waiting))
	gauge(m.age, u.Oldest.Truncate(time.Millisecond).Seconds())
	for _, part := range []string{"cut", "archive", "index", "heartbeat"} {
		failing := 0.0
		if s.Faults[part] != nil {
			failing = 1
		}
		gauge(m.fail, failing, part)
	}
}
