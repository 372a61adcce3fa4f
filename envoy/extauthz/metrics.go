package extauthz

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/authz"
)

// Metrics counts decisions. Its labels are rows of the table of reasons, so
// there is a fixed number of series.
type Metrics struct {
	decisions map[*authz.Reason]prometheus.Counter
	shadow    *prometheus.CounterVec
	latency   prometheus.Histogram
}

// NewMetrics registers the metrics.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	decisions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sallyport_decisions_total",
		Help: "Decisions of Check by effect and reason.",
	}, []string{"effect", "reason"})
	m := &Metrics{
		decisions: make(map[*authz.Reason]prometheus.Counter),
		shadow: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_shadow_refusals_total",
			Help: "Refusals that a shadow mode turned into an allow, by reason.",
		}, []string{"reason"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "sallyport_decision_seconds",
			Help:    "Time from the decoded request to the recorded decision.",
			Buckets: []float64{25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 10e-3, 50e-3, 250e-3, 1},
		}),
	}
	registerer.MustRegister(decisions, m.shadow, m.latency)
	for _, reason := range authz.Reasons() {
		effect := "deny"
		if reason.Code == "allowed" {
			effect = "allow"
		}
		m.decisions[reason] = decisions.WithLabelValues(effect, reason.Code)
	}
	return m
}

func (m *Metrics) observe(d *authz.Decision) {
	m.decisions[d.Reason].Inc()
	m.latency.Observe(d.Took.Seconds())
	for _, code := range d.Shadow {
		m.shadow.WithLabelValues(code).Inc()
	}
}
