package main

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/annona-exchange/annona"
)

// syncMetrics shows how sources are doing. Its labels are names of the configuration, datasets and
// codes.
type syncMetrics struct {
	registry *prometheus.Registry
	rows     *prometheus.CounterVec
	failures *prometheus.CounterVec
	runs     *prometheus.CounterVec

	mu     sync.Mutex
	states map[string]syncState // by source
}

func newSyncMetrics() *syncMetrics {
	m := &syncMetrics{
		registry: prometheus.NewRegistry(),
		states:   map[string]syncState{},
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "annona_sync_rows_total", Help: "Rows of the source that were read, by what became of their records; rejected rows became none.",
		}, []string{"source", "outcome"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "annona_sync_failures_total", Help: "Runs that failed, after their last attempt, and deliveries that went to quarantine.",
		}, []string{"source", "code"}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "annona_sync_runs_total", Help: "Runs that came to an end."}, []string{"source"}),
	}
	m.registry.MustRegister(m, m.rows, m.failures, m.runs)
	return m
}

// ran counts a run.
func (m *syncMetrics) ran(source string, state *syncState, err error) {
	m.runs.WithLabelValues(source).Inc()
	for outcome, n := range map[string]int{
		"created": state.Last.Created, "changed": state.Last.Changed, "unchanged": state.Last.Unchanged,
		"deleted": state.Last.Deleted, "rejected": state.Last.Rejected,
	} {
		m.rows.WithLabelValues(source, outcome).Add(float64(n))
	}
	if err != nil {
		m.failures.WithLabelValues(source, annona.CodeOf(err)).Inc()
	}
	if n := state.Last.Quarantined; n > 0 {
		m.failures.WithLabelValues(source, "quarantined").Add(float64(n))
	}
	m.know(source, *state)
}

func (m *syncMetrics) know(source string, state syncState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states[source] = state
}

var (
	syncLag     = prometheus.NewDesc("annona_sync_lag_seconds", "Seconds since the start of the last run that succeeded: what the source said until then is on file.", []string{"source"}, nil)
	syncSuccess = prometheus.NewDesc("annona_sync_last_success_timestamp_seconds", "Start of the last run that succeeded; 0: none has.", []string{"source"}, nil)
	syncRow     = prometheus.NewDesc("annona_sync_drift_records", "Records on file less those of the source, when they were compared last.", []string{"source", "dataset"}, nil)
	syncFailing = prometheus.NewDesc("annona_sync_failures_in_a_row", "Runs that have failed since the last one that succeeded.", []string{"source"}, nil)
)

// Describe is that of a collector.
func (m *syncMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{syncLag, syncSuccess, syncRow, syncFailing} {
		descriptions <- d
	}
}

// Collect gives the gauges as they are now.
func (m *syncMetrics) Collect(metrics chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for source, s := range m.states {
		success := 0.0
		if !s.SucceededAt.IsZero() {
			success = float64(s.SucceededAt.UnixMilli()) / 1000
			gauge(syncLag, s.lag(now).Seconds(), source)
		}
		gauge(syncSuccess, success, source)
		gauge(syncFailing, float64(s.Failures), source)
		for dataset, d := range s.Drift {
			gauge(syncRow, float64(d.OnFile-d.Source), source, dataset)
		}
	}
}

// serve serves the metrics on a loopback address until ctx ends.
func (m *syncMetrics) serve(ctx context.Context, address string) error {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return annona.Invalid("metrics_loopback_only", "the metrics of sync listen on a loopback address, such as 127.0.0.1:9091").On("metrics")
	}
	return serveMetrics(ctx, address, promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
}
