//! `[admin]`: the console.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::path::Path;
use std::time::Duration;

use admin::{ConsoleConfig, Right};
use config::{Environment, Errors, Settings, parse};

struct Empty;

impl Environment for Empty {
    fn var(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// A configuration with these lines.
fn read(lines: &str) -> Result<Settings, Errors> {
    let text = format!(
        "proxy.tls.mode = 'disable'\n\
         cluster = {{ discovery = 'static', nodes = ['db'] }}\n\
         users = [{{ name = 'app', password = 'secret' }}]\n{lines}"
    );
    parse("proxy.toml", &text, &Empty)
}

#[test]
fn there_is_a_console_if_somebody_may_use_it() {
    assert_eq!(read("").unwrap().console, None);
    assert_eq!(read("admin.database = 'console'").unwrap().console, None);
    let console = read("admin.stats_users = 'monitor'").unwrap().console.unwrap();
    assert_eq!(console.config, ConsoleConfig::default());
    assert_eq!(console.config.database, "pgmesh");
    let rights = ["monitor", "app"].map(|user| console.right(user));
    assert_eq!(rights, [Some(Right::Stats), None]);
}

#[test]
fn every_key_has_its_place() {
    let settings = read(
        "[admin]\nusers = ['root', 'dba']\nstats_users = ['monitor']\ndatabase = 'console'\n\
         max_connections = 3\nstats_period = '5s'",
    );
    let console = settings.unwrap().console.unwrap();
    let ConsoleConfig { database, connections_max, stats_period, .. } = &console.config;
    assert_eq!((database.as_str(), *connections_max), ("console", 3));
    assert_eq!(*stats_period, Duration::from_secs(5));
    let rights = ["dba", "monitor"].map(|user| console.right(user));
    assert_eq!(rights, [Some(Right::Admin), Some(Right::Stats)]);
}

#[test]
fn what_is_in_the_way_is_said() {
    let settings = read("admin.users = 'root'\n[[databases]]\nname = 'pgmesh'").unwrap();
    let warnings: Vec<_> = settings.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("admin.database"), "{warnings:?}");
    let quiet = read("admin.users = 'root'\n[[databases]]\nname = 'pgbouncer'").unwrap();
    assert!(quiet.warnings.is_empty(), "{:?}", quiet.warnings);
}

#[test]
fn a_console_without_a_name_or_a_place_is_refused() {
    for (line, word) in [
        ("database = ''", "admin.database"),
        ("max_connections = 0", "admin.max_connections"),
        ("stats_period = '0s'", "admin.stats_period"),
    ] {
        let errors = read(&format!("[admin]\nusers = 'root'\n{line}")).unwrap_err().to_string();
        assert!(errors.contains(word), "{errors}");
    }
    let long = read(&format!("admin.database = '{}'", "x".repeat(64))).unwrap_err();
    assert!(long.to_string().contains("admin.database"), "{long}");
}
