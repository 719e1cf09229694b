//! Prometheus metrics: plain counters a worker, merged at scrape.
