//! What is in deploy/monitoring works with what pgmesh tells: the rules with Prometheus' own tools, the
//! dashboard with a Prometheus that scrapes a real pgmesh.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod known;
mod promql;
mod rules;
