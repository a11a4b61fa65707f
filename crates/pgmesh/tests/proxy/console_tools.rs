//! What others have written for PgBouncer's console, at this one.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testbed::packages::{
    self, ASYNCPG, CHECK_POSTGRES, PGBOUNCER, PGBOUNCER_EXPORTER, PSYCOPG, PSYCOPG2,
};
use testbed::programs::SYSTEM_PYTHON;
use testbed::{Interrupt, Login, PgBouncer, PgBouncerOptions, Pgmesh, Port, Postgres, http};

use crate::clients::Raw;
use crate::console::{STATS, console, setup};
use crate::metrics::eventually;
use crate::postgres;

/// Ends what hangs.
const LIMIT: Duration = Duration::from_secs(120);

fn run(command: &mut Command) -> String {
    testbed::run(command, "", LIMIT, &Interrupt::default()).unwrap()
}

/// With a client that has done something.
fn used(postgres: &Postgres) -> (Pgmesh, Raw) {
    let mesh = setup(postgres).start();
    let mut client = Raw::log_in(&mesh.app());
    assert_eq!(client.value("SELECT 1"), "1");
    (mesh, client)
}

/// The names of the columns of a SHOW, if there is that.
fn columns(login: &Login, show: &str) -> Option<BTreeSet<String>> {
    let mut psql = login.command("psql").unwrap();
    psql.args(["-X", "-A", "-P", "footer=off", "-c", &format!("SHOW {show}")]);
    let table = testbed::run(&mut psql, "", LIMIT, &Interrupt::default()).ok()?;
    Some(table.lines().next()?.split('|').map(str::to_owned).collect())
}

#[test]
fn drivers_read_every_table() {
    packages::ensure(&[PSYCOPG, PSYCOPG2, ASYNCPG]).unwrap();
    let postgres = postgres();
    let (mesh, _client) = used(&postgres);
    let login = console(&mesh);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/console/drive.py");
    let mut python = Command::new(SYSTEM_PYTHON);
    python
        .args(["-B", "-u", script])
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", login.port.to_string())
        .env("PGUSER", login.user)
        .env("PGPASSWORD", login.password)
        .env("PGDATABASE", login.database);
    run(&mut python);
}

#[test]
fn tokio_postgres_reads_a_table_in_both_protocols() {
    let postgres = postgres();
    let (mesh, _client) = used(&postgres);
    let uri = console(&mesh).uri();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) =
            tokio_postgres::connect(&uri, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let rows = client.query("SHOW POOLS", &[]).await.unwrap();
        assert_eq!(rows[0].get::<_, &str>("database"), "app");
        assert_eq!(rows[0].get::<_, i32>("cl_active"), 1);
        let simple = client.simple_query("SHOW VERSION; SHOW STATE").await.unwrap();
        assert!(simple.len() > 4, "{simple:?}");
    });
}

#[test]
fn psql_looks_and_sets() {
    let postgres = postgres();
    let (mesh, _client) = used(&postgres);
    let login = console(&mesh);
    let version = format!("pgmesh {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(login.psql("SHOW VERSION;").unwrap(), version);
    let limit = login.psql("SET pool.size = 7; SHOW CONFIG;").unwrap();
    assert!(limit.contains("\ndefault_pool_size|7|25|yes\n"), "{limit}");
}

/// What else it has does not matter: programs read columns by their names.
#[test]
fn every_column_of_pgbouncer_is_there() {
    packages::ensure(&[PGBOUNCER]).unwrap();
    let postgres = postgres();
    let (mesh, _client) = used(&postgres);
    let pgbouncer = PgBouncer::start(&postgres, &PgBouncerOptions::installed().unwrap()).unwrap();
    let theirs = Login { database: "pgbouncer".to_owned(), ..pgbouncer.app() };
    let mut compared = 0;
    for show in [
        "ACTIVE_SOCKETS",
        "CLIENTS",
        "CONFIG",
        "DATABASES",
        "DNS_HOSTS",
        "DNS_ZONES",
        "LISTS",
        "MEM",
        "PEERS",
        "PEER_POOLS",
        "POOLS",
        "SERVERS",
        "SOCKETS",
        "STATE",
        "STATS",
        "STATS_AVERAGES",
        "STATS_TOTALS",
        "TOTALS",
        "USERS",
        "VERSION",
    ] {
        // An older one has not all of them.
        let Some(theirs) = columns(&theirs, show) else { continue };
        let ours = columns(&console(&mesh), show).unwrap();
        let missing: Vec<_> = theirs.difference(&ours).collect();
        assert!(missing.is_empty(), "{show}: {missing:?}");
        compared += 1;
    }
    assert!(compared >= 14, "{compared} tables of {}", pgbouncer.version());
}

/// Killed when it is dropped.
struct Exporter(Child);

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_exporter_for_pgbouncer_scrapes_it() {
    packages::ensure(&[PGBOUNCER_EXPORTER]).unwrap();
    let postgres = postgres();
    let (mesh, _client) = used(&postgres);
    let port = Port::reserve().unwrap();
    let exporter = Command::new(testbed::programs::find("prometheus-pgbouncer-exporter").unwrap())
        .args(["--host", "127.0.0.1", "--pgbouncer-host", "127.0.0.1"])
        .args(["--pgbouncer-user", STATS.user])
        .args(["--port", &port.to_string(), "--pgbouncer-port", &mesh.port().to_string()])
        .env("PGPASSWORD", STATS.password)
        .stdin(Stdio::null())
        .spawn();
    let _exporter = Exporter(exporter.unwrap());
    let mut text = String::new();
    eventually("a scrape", || {
        let answer = http::get(port.number(), "/metrics").ok();
        text = answer.filter(|answer| answer.status == 200).map_or_else(String::new, |it| it.body);
        text.contains("pgbouncer_active_clients")
    });
    let app: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("pgbouncer_active_clients{") && line.contains("\"app\""))
        .collect();
    assert!(app.len() == 1 && app[0].ends_with(" 1.0"), "{app:?} in {text}");
    for name in ["pgbouncer_requests_total", "pgbouncer_pool_size", "pgbouncer_used_clients"] {
        assert!(text.contains(name), "{name} in {text}");
    }
}

#[test]
fn check_postgres_finds_everything_well() {
    packages::ensure(&[CHECK_POSTGRES]).unwrap();
    let postgres = postgres();
    let (mesh, _client) = used(&postgres);
    let login = mesh.login(STATS, "pgbouncer");
    let check = |action: &str, arguments: &[&str]| {
        let mut check = login.command("check_postgres").unwrap();
        check.arg(format!("--action={action}")).args(arguments);
        check.args(["--host=127.0.0.1", "--dbname=pgbouncer"]);
        check.arg(format!("--port={}", login.port)).arg(format!("--dbuser={}", login.user));
        testbed::run(&mut check, "", LIMIT, &Interrupt::default())
    };
    for action in [
        "pgb_pool_cl_active",
        "pgb_pool_cl_waiting",
        "pgb_pool_sv_active",
        "pgb_pool_sv_idle",
        "pgb_pool_sv_used",
        "pgb_pool_sv_tested",
        "pgb_pool_sv_login",
        "pgb_pool_maxwait",
    ] {
        let said = check(action, &["--warning=1000", "--critical=2000"]).unwrap();
        assert!(said.contains(" OK: ") && said.contains("app="), "{action}: {said}");
    }
    let said = check("pgbouncer_backends", &[]).unwrap();
    assert!(said.contains(" OK: "), "{said}");
    // It says what the sum is, and then that it is as it was.
    let sum = match check("pgbouncer_checksum", &["--critical=0"]) {
        Ok(said) => said,
        Err(error) => error.to_string(),
    };
    let is_sum =
        |word: &&str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let sum = sum
        .split(|byte: char| !byte.is_ascii_alphanumeric())
        .find(is_sum)
        .unwrap_or_else(|| panic!("{sum}"));
    let said = check("pgbouncer_checksum", &[&format!("--critical={sum}")]).unwrap();
    assert!(said.contains(" OK: "), "{said}");
}
