package main

import (
	"net"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// newOps serves what operators look at: metrics, health, readiness, profiles.
// Nothing in it is authenticated, so its listener is loopback or a Unix socket.
func newOps(gatherer prometheus.Gatherer, ready func() bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return onLoopback(mux)
}

// onLoopback refuses a Host that isn't this machine's: a web page of somebody
// else's whose name leads here (DNS rebinding).
func onLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		ip := net.ParseIP(strings.Trim(host, "[]"))
		if _, unix := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr); !unix && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "ask by a loopback address", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// keyMetrics shows the key sets to Prometheus. Its series are as many as
// issuers are configured.
type keyMetrics struct {
	keys                                     *keyring
	usable, age, refreshes, failures, strays *prometheus.Desc
}

func newKeyMetrics(keys *keyring) *keyMetrics {
	describe := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("sallyport_key_set_"+name, help, []string{"issuer"}, nil)
	}
	return &keyMetrics{
		keys:      keys,
		usable:    describe("usable", "1 if tokens of the issuer can be verified."),
		age:       describe("age_seconds", "Time since the issuer last gave its key set."),
		refreshes: describe("refreshes_total", "Attempts to fetch the key set."),
		failures:  describe("refresh_failures_total", "Attempts to fetch the key set that failed."),
		strays:    describe("unknown_kids_total", "Tokens that named a key which is not in the set."),
	}
}

// Describe implements prometheus.Collector.
func (m *keyMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.usable, m.age, m.refreshes, m.failures, m.strays} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *keyMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, s := range m.keys.status() {
		send := func(d *prometheus.Desc, typ prometheus.ValueType, value float64) {
			ch <- prometheus.MustNewConstMetric(d, typ, value, s.Name)
		}
		usable := 0.0
		if s.Usable {
			usable = 1
		}
		send(m.usable, prometheus.GaugeValue, usable)
		send(m.age, prometheus.GaugeValue, s.Age.Seconds())
		send(m.refreshes, prometheus.CounterValue, float64(s.Refreshes))
		send(m.failures, prometheus.CounterValue, float64(s.Failures))
		send(m.strays, prometheus.CounterValue, float64(s.UnknownKIDs))
	}
}
