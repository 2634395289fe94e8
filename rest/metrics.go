package rest

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// Metrics counts what the server does. Its labels come from our own vocabulary only: route
// patterns, known methods, datasets, formats.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	rows     *prometheus.CounterVec
	exports  *prometheus.GaugeVec
	appends  prometheus.Histogram
	imports  *prometheus.CounterVec
	imported *prometheus.CounterVec
}

// NewMetrics returns metrics with a registry of their own.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "annona_http_requests_total", Help: "Requests answered, by class of status; aborted when the connection was cut.",
		}, []string{"route", "method", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "annona_http_request_seconds", Help: "From the request to the last byte of its answer.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10, 60, 600},
		}, []string{"route", "method"}),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "annona_rows_disclosed_total", Help: "Records of the root datasets that were sent.",
		}, []string{"dataset", "format"}),
		exports: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "annona_exports_running", Help: "Exports that are being sent.",
		}, []string{"dataset", "format"}),
		appends: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "annona_ledger_append_seconds", Help: "From handing entries to the ledger until they are durable.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .5, 2.5},
		}),
	}
	m.imports = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "annona_imports_total", Help: "Loads of registrars that have ended, by mode and state.",
	}, []string{"mode", "state"})
	m.imported = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "annona_import_rows_total", Help: "Rows of loads of registrars: taken, or refused.",
	}, []string{"result"})
	m.registry.MustRegister(m.requests, m.seconds, m.rows, m.exports, m.appends, m.imports, m.imported,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler shows the metrics. It belongs on a listener of its own.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Ledger returns a ledger that measures how long its appends take.
func (m *Metrics) Ledger(of annona.Ledger) annona.Ledger { return timedLedger{of, m.appends} }

type timedLedger struct {
	annona.Ledger
	took prometheus.Histogram
}

func (l timedLedger) Append(ctx context.Context, rows ...annona.LedgerRow) error {
	began := time.Now()
	defer func() { l.took.Observe(time.Since(began).Seconds()) }()
	return l.Ledger.Append(ctx, rows...)
}

// ImportEnded counts a load that has ended.
func (m *Metrics) ImportEnded(l exchange.LoadInfo) {
	m.imports.WithLabelValues(l.Mode, l.State).Inc()
	reading := l.Report.Counted()
	m.imported.WithLabelValues("refused").Add(float64(reading.Rejected))
	m.imported.WithLabelValues("taken").Add(float64(reading.Rows - reading.Rejected))
}

// Imports shows how many loads are being taken in or run.
func (m *Metrics) Imports(running func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "annona_imports_running", Help: "Loads of registrars that are being taken in or run.",
	}, func() float64 { return float64(running()) }))
}

// Replica shows how many pages a replica has read, and how many the primary had to read and why. The
// labels are the keys of what count returns.
func (m *Metrics) Replica(count func() map[string]int64) {
	m.registry.MustRegister(replicaPages{count, prometheus.NewDesc("annona_replica_pages_total",
		"Pages of searches and exports: read by the replica, or by the primary because the replica was lagging, away or failed.", []string{"read"}, nil)})
}

type replicaPages struct {
	count func() map[string]int64
	desc  *prometheus.Desc
}

func (r replicaPages) Describe(to chan<- *prometheus.Desc) { to <- r.desc }

func (r replicaPages) Collect(to chan<- prometheus.Metric) {
	for how, n := range r.count() {
		to <- prometheus.MustNewConstMetric(r.desc, prometheus.CounterValue, float64(n), how)
	}
}

func (m *Metrics) count(v *visit, status int, took time.Duration) {
	class := strconv.Itoa(status/100) + "xx"
	if v.aborted {
		class = "aborted"
	}
	m.requests.WithLabelValues(v.route, v.method, class).Inc()
	m.seconds.WithLabelValues(v.route, v.method).Observe(took.Seconds())
	if v.rows > 0 {
		m.rows.WithLabelValues(v.dataset, string(v.format)).Add(float64(v.rows))
	}
}

// running counts an export until the returned function is called.
func (m *Metrics) running(dataset, format string) (ended func()) {
	g := m.exports.WithLabelValues(dataset, format)
	g.Inc()
	return g.Dec
}
