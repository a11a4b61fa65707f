//! What can go wrong when telemetry is set up or read.

/// A mistake of the assembly, or a log filter that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A metric could not be registered: it is registered already.
    #[error("cannot register a metric")]
    Register(#[source] prometheus::Error),
    /// The metrics could not be written as text.
    #[error("cannot write the metrics as text")]
    Encode(#[source] prometheus::Error),
    /// The log filter is not `level` or `target=level,…`.
    #[error("{variable} is not a log filter: write a level or target=level, separated by commas")]
    Filter {
        /// The environment variable.
        variable: &'static str,
        /// The position and reason.
        source: tracing_subscriber::filter::ParseError,
    },
    /// There is no journal to log to.
    #[error("cannot log to systemd's journal (log.format); is this process run by systemd?")]
    Journal(#[source] std::io::Error),
    /// This process has a log subscriber already.
    #[error("logging was set up before")]
    LogTwice,
}
