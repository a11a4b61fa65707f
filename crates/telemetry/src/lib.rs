//! The prometheus registry, label types, io sensors and tracing set-up.
