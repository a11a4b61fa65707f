//! What is in deploy/monitoring works with what pgmesh tells: the rules with Prometheus' own tools, the
//! dashboard with a Prometheus that scrapes a real pgmesh.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../proxy/certificates.rs"]
#[allow(dead_code, reason = "this needs a part of it")]
mod certificates;
#[path = "../support/metrics.rs"]
#[allow(dead_code, reason = "this needs a part of it")]
mod metrics;
#[path = "../support/proxy.rs"]
#[allow(dead_code, reason = "this needs a part of it")]
mod proxy;

mod cluster;
mod dashboard;
mod known;
mod promql;
mod rules;
