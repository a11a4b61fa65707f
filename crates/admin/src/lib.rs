//! HTTP service for /metrics and health, on a runtime of its own.
