//! Logging: `tracing` events to stderr, as text or as one JSON object per line, or to systemd's
//! journal.
//!
//! Conventions, for every crate that logs:
//! - An event about a client connection is inside, or carries the field of, [`CLIENT`]; one
//!   about a server connection carries [`SERVER`]. Both are numbers that this process never
//!   gives twice, so `client=42` finds the whole life of a connection.
//! - Names are fields (`database`, `user`, `node`), not parts of the message. Peers' text goes
//!   into fields only, as strings (`user = name`) or with `?`: both formatters escape those, so
//!   nobody can forge a line. `%` does not escape and is for our own texts.
//! - An event of the level `info` and above has the field `event`: a name that stays, listed in
//!   [`crate::events`].
//! - Passwords, keys, statements and parameters are in no event at any level.

mod limit;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::Error;
use limit::Limit;

/// The field with the number of a client connection.
pub const CLIENT: &str = "client";

/// The field with the number of a server connection.
pub const SERVER: &str = "server";

/// The environment variable that overrules the configured level: a level, or
/// `target=level,…` with crates as targets, such as `info,pool=debug`.
pub const FILTER_VARIABLE: &str = "PGMESH_LOG";

/// How lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One object per line: `timestamp`, `level`, `target`, `message`, the fields, `span`.
    Json,
    /// To systemd's journal, each field as one of its own, such as `F_EVENT`.
    Journald,
}

/// The least level that is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What somebody must look at.
    Error,
    /// What pgmesh could handle and should not have had to.
    Warn,
    /// What it decided: epochs, reloads, drains.
    #[default]
    Info,
    /// Each connection's beginning and end.
    Debug,
    /// Each message, by its tag.
    Trace,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Config {
    /// How lines look.
    pub format: Format,
    /// The least level that is written.
    pub level: Level,
    /// How many events of one kind are written per second; 0 is no limit.
    pub rate: u32,
    /// Whether logins and the ends of sessions are logged.
    pub connections: bool,
    /// Transactions that take so long are logged; zero logs none.
    pub min_duration: Duration,
}

impl Level {
    /// As in proxy.toml.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// Changes what is logged while the process runs.
#[derive(Debug, Clone)]
pub struct Handle {
    filter: reload::Handle<Targets, Registry>,
    /// What [`FILTER_VARIABLE`] says.
    variable: Option<Targets>,
    suppressed: Arc<AtomicU64>,
}

impl Handle {
    /// Goes by the configured level again, or by [`FILTER_VARIABLE`] where that overrules it.
    pub fn follow(&self, level: Level) {
        self.replace(self.variable.clone().unwrap_or_else(|| least(level)));
    }

    /// Goes by a level, or a filter as in [`FILTER_VARIABLE`], whatever was configured.
    ///
    /// # Errors
    /// [`Error::Filter`], and nothing changes.
    pub fn set(&self, filter: &str) -> Result<(), Error> {
        let filter = parse(filter)?;
        self.replace(filter);
        Ok(())
    }

    /// Events that `rate` has kept back since the start.
    pub fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    fn replace(&self, filter: Targets) {
        if self.filter.reload(filter).is_err() {
            tracing::error!(
                event = "log_failed",
                "what is logged cannot be changed: the log has been taken down"
            );
        }
    }
}

/// Sends this process' events to stderr or the journal, once. `filter` is the value of
/// [`FILTER_VARIABLE`].
///
/// # Errors
/// [`Error::Filter`] or [`Error::Journal`], and nothing is set up; [`Error::LogTwice`].
pub fn init(config: Config, filter: Option<&str>) -> Result<Handle, Error> {
    let (subscriber, handle) = subscriber(config, filter, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| Error::LogTwice)?;
    Ok(handle)
}

/// What [`init`] sets up, writing elsewhere.
///
/// # Errors
/// [`Error::Filter`], [`Error::Journal`].
pub fn subscriber<W>(
    config: Config,
    filter: Option<&str>,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync, Handle), Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = filter.map(str::trim).filter(|text| !text.is_empty());
    let variable = filter.map(parse).transpose()?;
    let first = variable.clone().unwrap_or_else(|| least(config.level));
    let (filter, handle) = reload::Layer::new(first);
    let base = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        Format::Text => base.boxed(),
        Format::Json => base.json().flatten_event(true).with_span_list(false).boxed(),
        Format::Journald => tracing_journald::layer().map_err(Error::Journal)?.boxed(),
    };
    let suppressed = Arc::default();
    let filter = filter.and(Limit::new(config.rate, Arc::clone(&suppressed)));
    let handle = Handle { filter: handle, variable, suppressed };
    Ok((Registry::default().with(lines.with_filter(filter)), handle))
}

fn least(level: Level) -> Targets {
    Targets::new().with_default(LevelFilter::from(level))
}

fn parse(filter: &str) -> Result<Targets, Error> {
    filter.trim().parse().map_err(|source| Error::Filter { variable: FILTER_VARIABLE, source })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, level: Level, filter: Option<&str>, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let sink = lines.clone();
        let (subscriber, _handle) =
            subscriber(Config { format, level, ..Config::default() }, filter, move || sink.clone())
                .unwrap();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_carry_the_connection_and_escape_what_peers_say() {
        let text = logged(Format::Json, Level::Info, None, || {
            let span = tracing::info_span!("session", client = 42_u64);
            span.in_scope(|| tracing::info!(user = "a\nb\"c", "logged in"));
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "logged in");
        assert_eq!(line["user"], "a\nb\"c");
        assert_eq!(line["span"][CLIENT], 42);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn text_lines_are_one_line_whatever_peers_say() {
        let text = logged(Format::Text, Level::Info, None, || {
            tracing::info!(client = 42_u64, user = "a\nb", "logged in");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("client=42") && text.contains("logged in"), "{text}");
        assert!(!text.contains('\u{1b}'), "no colours: {text}");
    }

    #[test]
    fn the_level_is_a_threshold_and_the_variable_overrules_it() {
        let log = || {
            tracing::warn!("careful");
            tracing::debug!("detail");
            tracing::debug!(target: "pool", "of the pool");
        };
        let plain = logged(Format::Text, Level::Warn, None, log);
        assert!(plain.contains("careful") && !plain.contains("detail"), "{plain}");
        let blank = logged(Format::Text, Level::Warn, Some(" "), log);
        assert_eq!(blank.lines().count(), 1, "{blank}");
        let chosen = logged(Format::Text, Level::Trace, Some("error,pool=debug"), log);
        assert!(chosen.contains("of the pool") && !chosen.contains("careful"), "{chosen}");
    }

    #[test]
    fn a_flood_is_cut_off_and_counted() {
        let lines = Lines::default();
        let sink = lines.clone();
        let config = Config { rate: 3, ..Config::default() };
        let (subscriber, handle) = subscriber(config, None, move || sink.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..10 {
                tracing::warn!("flood");
                tracing::debug!("not written at all, and not kept back");
            }
        });
        let text = String::from_utf8(lines.0.lock().clone()).unwrap();
        assert_eq!((text.matches("flood").count(), handle.suppressed()), (3, 7), "{text}");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        let result = subscriber(Config::default(), Some("pool=loud"), io::sink);
        let Err(error) = result else { panic!("accepted") };
        assert!(error.to_string().contains(FILTER_VARIABLE), "{error}");
    }

    #[test]
    fn what_is_logged_can_be_changed_and_changed_back() {
        let lines = Lines::default();
        let sink = lines.clone();
        let (subscriber, handle) =
            subscriber(Config::default(), None, move || sink.clone()).unwrap();
        let count = || String::from_utf8(lines.0.lock().clone()).unwrap().lines().count();
        tracing::subscriber::with_default(subscriber, || {
            let log = || tracing::debug!("detail");
            log();
            assert_eq!(count(), 0);
            handle.set("warn,telemetry=debug").unwrap();
            log();
            assert_eq!(count(), 1);
            assert!(handle.set("telemetry=loud").is_err());
            log();
            assert_eq!(count(), 2, "as before");
            handle.follow(Level::Info);
            log();
            assert_eq!(count(), 2);
        });
    }

    #[test]
    fn the_variable_overrules_the_file_again() {
        let (_subscriber, handle) = subscriber(Config::default(), Some("error"), io::sink).unwrap();
        handle.set("trace").unwrap();
        handle.follow(Level::Debug);
        let shown = handle.filter.with_current(ToString::to_string).unwrap();
        assert_eq!(shown, "error");
    }
}
