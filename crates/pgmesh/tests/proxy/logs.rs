//! What is logged, where, and how often.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use testbed::{Login, Pgmesh};

use crate::clients::Raw;
use crate::metrics::{eventually, sample};
use crate::postgres;
use crate::proxy::{Setup, binary};

type Event = serde_json::Map<String, serde_json::Value>;

/// The lines of the log that have this event.
fn events(mesh: &Pgmesh, event: &str) -> Vec<Event> {
    let log = mesh.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok());
    lines.filter(|line| line.get("event").is_some_and(|it| it == event)).collect()
}

#[test]
fn sessions_and_slow_transactions_are_told_of() {
    let postgres = postgres();
    let mesh =
        Setup::before(&postgres).with("log", "format = \"json\"\nmin_duration = \"200ms\"").start();
    let mut client = Raw::log_in(&mesh.app());
    client.query("SELECT 'fast'");
    client.query("SELECT pg_sleep(0.25), 'slow'");
    drop(client);
    eventually("the client is seen to have left", || !events(&mesh, "client_left").is_empty());
    let [connected, left, slow] =
        ["client_connected", "client_left", "slow_transaction"].map(|it| events(&mesh, it));
    let [connected, left, slow] = [&connected[0], &left[0], &slow[0]];
    assert_eq!(connected["pool"], "app_user@app read-write");
    assert_eq!((&connected["span"]["id"], &slow["client"]), (&left["client"], &left["client"]));
    assert!(slow["duration_ms"].as_u64().unwrap() >= 200, "{slow:?}");
    assert_eq!(events(&mesh, "slow_transaction").len(), 1, "{}", mesh.log());
    assert!(!mesh.log().contains("pg_sleep"), "no statement is ever logged");
}

#[test]
fn a_flood_of_refusals_is_not_one_of_lines() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres)
        .with("log", "format = \"json\"\nrate = 1\nconnections = false")
        .with("proxy", "failed_login_delay = \"0s\"")
        .start();
    let wrong = Login { password: "wrong".into(), ..mesh.app() };
    let began = std::time::Instant::now();
    for _ in 0..20 {
        assert!(wrong.psql("SELECT 1").is_err());
    }
    let seconds = began.elapsed().as_secs() + 2;
    let told = events(&mesh, "client_refused").len() as u64;
    assert!((1..20).contains(&told) && told <= seconds, "{told} lines in {seconds} s");
    eventually("the others are told of", || {
        let told = events(&mesh, "log_suppressed");
        let suppressed: u64 = told.iter().filter_map(|it| it["events"].as_u64()).sum();
        suppressed > 0 && sample(&mesh, "pgmesh_log_suppressed_total", "") == suppressed as f64
    });
    drop(Raw::log_in(&mesh.app()));
    assert_eq!(events(&mesh, "client_connected").len(), 0);
}

/// The fields of an entry, as they go to the journal: `KEY=value` lines, or a key, its length and
/// the value.
fn fields(entry: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut rest = entry;
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        if let Some((key, value)) = line.split_once('=') {
            fields.insert(key.to_owned(), value.to_owned());
        } else if rest.len() >= 8 {
            let len = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let value = String::from_utf8_lossy(&rest[8..8 + len]).into_owned();
            fields.insert(line, value);
            rest = &rest[8 + len + 1..];
        }
    }
    fields
}

/// The journal's socket has a fixed path: the process gets a file system of its own where that is
/// this test's.
#[test]
fn the_journal_gets_the_fields_of_an_event() {
    let directory = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(directory.path().join("socket")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let file = directory.path().join("proxy.toml");
    let toml = "[cluster]\ndiscovery = \"static\"\nnodes = [\"127.0.0.1:1\"]\n\
        [log]\nformat = \"journald\"\n[[users]]\nname = \"a\"\npassword = \"b\"\n";
    std::fs::write(&file, toml).unwrap();
    let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
        mount --bind \"$0\" /run/systemd/journal && exec \"$1\" check --config \"$2\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .args([directory.path(), binary().as_ref(), &file])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut entry = vec![0; 65536];
    // The first one is empty: whether anybody is there.
    let len = [socket.recv(&mut entry), socket.recv(&mut entry)].map(Result::unwrap)[1];
    let fields = fields(&entry[..len]);
    assert_eq!(fields.get("F_EVENT").map(String::as_str), Some("config_warning"), "{fields:?}");
    assert_eq!(fields["PRIORITY"], "4");
    assert!(fields["MESSAGE"].contains("TLS"), "{fields:?}");
    assert_eq!(fields["SYSLOG_IDENTIFIER"], "pgmesh");
}
