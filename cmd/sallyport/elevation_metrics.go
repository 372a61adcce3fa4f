package main

import (
	"github.com/prometheus/client_golang/prometheus"
)

// elevationMetrics reads the counts of privileged access when they are asked for.
type elevationMetrics struct {
	elevations *elevations

	pending, live, breakGlass, age        *prometheus.Desc
	lapsed, unrecorded, unfiled, webhooks *prometheus.Desc
	questions, open                       *prometheus.Desc
}

func newElevationMetrics(e *elevations) *elevationMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sallyport_"+name, help, labels, nil)
	}
	return &elevationMetrics{
		elevations: e,
		pending:    desc("elevations_pending", "Requests that wait for a decision."),
		live:       desc("elevations_live", "Grants and approvals that are in force."),
		breakGlass: desc("elevations_break_glass", "Break-glass grants that are in force."),
		age:        desc("elevations_age_seconds", "How old this replica's knowledge of them is; from 2 on everything that needs it is refused. -1: there was never any."),
		lapsed:     desc("elevations_lapsed_total", "Requests and grants that this process has ended for their time."),
		unrecorded: desc("elevations_unrecorded_total", "Outcomes of changes that the journal didn't take."),
		unfiled:    desc("elevations_unfiled_total", "Requests that the external provider didn't take."),
		questions:  desc("provider_questions_total", "Questions to the external provider: answered from what was said before, asked, failed, refused because it failed a moment ago or too many wait.", "result"),
		open:       desc("provider_open", "1 while the external provider isn't asked, because it failed a moment ago."),
		webhooks:   desc("webhook_notices_total", "What became of notices: delivered, failed attempts, dropped.", "result"),
	}
}

// Describe implements prometheus.Collector.
func (m *elevationMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.pending, m.live, m.breakGlass, m.age, m.lapsed, m.unrecorded, m.unfiled, m.webhooks, m.questions, m.open} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *elevationMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
	counter := func(d *prometheus.Desc, value uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	s := m.elevations.service.Stats()
	gauge(m.pending, float64(s.Pending))
	gauge(m.live, float64(s.Live))
	gauge(m.breakGlass, float64(s.BreakGlass))
	gauge(m.age, max(s.Age.Seconds(), -1))
	counter(m.lapsed, s.Lapsed)
	counter(m.unrecorded, s.Unrecorded)
	counter(m.unfiled, s.Unfiled)
	if m.elevations.guard != nil {
		c, open := m.elevations.guard.Counts(), 0.0
		if c.Open {
			open = 1
		}
		gauge(m.open, open)
		counter(m.questions, c.Kept, "kept")
		counter(m.questions, c.Asked, "asked")
		counter(m.questions, c.Failed, "failed")
		counter(m.questions, c.Refused, "refused")
	}
	if m.elevations.sender == nil {
		return
	}
	c := m.elevations.sender.Counts()
	counter(m.webhooks, c.Delivered, "delivered")
	counter(m.webhooks, c.Failed, "failed")
	counter(m.webhooks, c.Dropped, "dropped")
}
