package extproc

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/audit"
)

// Metrics counts exchanges. Its labels are the results above and codes of the
// table of reasons, so there is a bounded number of series.
type Metrics struct {
	exchanges *prometheus.CounterVec
	seconds   prometheus.Histogram
}

// NewMetrics registers the metrics.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_exchanges_total",
			Help: "Exchanges by what became of them: executed, replayed, released, unknown, passed, or the reason of a refusal.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "sallyport_exchange_seconds",
			Help:    "Time from the request to the end of the response.",
			Buckets: []float64{1e-3, 5e-3, 25e-3, 0.1, 0.5, 2.5, 10, 60},
		}),
	}
	registerer.MustRegister(m.exchanges, m.seconds)
	for _, result := range []string{resultExecuted, resultReplayed, resultReleased, resultUnknown, resultPassed} {
		m.exchanges.WithLabelValues(result)
	}
	return m
}

// record writes the outcome to the journal and the metrics.
func (x *exchange) record() {
	if x.result == "" {
		x.result = resultPassed
	}
	now := x.server.now()
	outcome := audit.Outcome{
		DecisionID: x.decisionID(), Time: now, Source: "ext_proc", Result: x.result,
		Status: x.response.status, Details: x.response.details,
		BytesOut: int64(x.response.size), Took: now.Sub(x.started), Digest: x.response.bodyDigest(),
	}
	x.server.metrics.exchanges.WithLabelValues(x.result).Inc()
	x.server.metrics.seconds.Observe(outcome.Took.Seconds())
	if err := x.server.journal.Append(outcome.Append(make([]byte, 0, 512)), audit.Reserve); err != nil {
		// The decision is recorded; that its outcome is missing will be seen.
		x.server.log.ErrorContext(x.ctx, "outcome not recorded", "error", err, "decision_id", x.decisionID())
	}
}
