//! `pgmesh check`, and `pgmesh --upstream` without a file.

use std::process::{Command, Output};

use testbed::{APP_DATABASE, APP_USER, Bed, Interrupt, Login, Signal, http};

use crate::certificates::Authority;
use crate::metrics::eventually;
use crate::postgres;
use crate::proxy::binary;

/// The ports of a pgmesh without a file.
const PORT: u16 = 6432;
const METRICS_PORT: u16 = 9187;

fn check(toml: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("proxy.toml");
    std::fs::write(&path, toml).unwrap();
    let mut command = Command::new(binary());
    command.arg("check").arg("--config").arg(&path).env("PGMESH_LOG", "info");
    command.env("APP_SECRET", "very-secret").output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const GOOD: &str = "[cluster]
endpoints = [\"http://etcd-1:2379\"]
scope = \"postgres-cluster\"
[[users]]
name = \"app_user\"
password = { env = \"APP_SECRET\" }
";

#[test]
fn a_good_file_is_good() {
    let output = check(GOOD);
    assert!(output.status.success(), "{}", stderr(&output));
    let example = include_str!("../../../../proxy.toml");
    let example = example.replace("{ file = \"/run/secrets/app_password\" }", "\"x\"");
    let output = check(&example);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn everything_that_is_wrong_is_told_with_its_line_and_no_secret() {
    let output = check(&format!("{GOOD}[pool]\nmode = \"transactions\"\nsizes = 3\nsize = -1\n"));
    assert!(!output.status.success());
    let told = stderr(&output);
    for part in ["line 8", "line 9", "line 10", "pool.mode", "pool.sizes", "pool.size", "3 errors"]
    {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(!told.contains("very-secret"), "{told}");
    // Files are looked at, too.
    let authority = Authority::new();
    let keys = authority.sign_to_files(&["localhost"]);
    assert!(check(&format!("{GOOD}[proxy.tls]\n{keys}\n")).status.success());
    let missing = "certificate = \"/no/such.crt\"\nkey = \"/no/such.key\"";
    let output = check(&format!("{GOOD}[proxy.tls]\n{missing}\n"));
    assert!(!output.status.success() && stderr(&output).contains("/no/such"), "{output:?}");
    let ca = authority.ca().display().to_string();
    let swapped = format!("certificate = \"{ca}\"\nkey = \"{ca}\"");
    assert!(!check(&format!("{GOOD}[proxy.tls]\n{swapped}\n")).status.success());

    let nowhere = Command::new(binary()).args(["check", "--config", "/no/such.toml"]).output();
    let nowhere = nowhere.unwrap();
    assert!(!nowhere.status.success() && stderr(&nowhere).contains("/no/such.toml"));
    assert!(!check("").status.success());
    assert!(!check("[proxy\n").status.success());
}

#[test]
fn a_port_that_is_taken_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("proxy.toml");
    let proxy = format!("[proxy]\nlisten = \"127.0.0.1\"\nport = {port}\n");
    let metrics = "[metrics]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(&path, format!("{GOOD}{proxy}{metrics}")).unwrap();
    let mut command = Command::new(binary());
    let output = command.arg("--config").arg(&path).env("APP_SECRET", "x").output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains(&port.to_string()), "{}", stderr(&output));
}

#[test]
fn one_server_is_served_without_a_file() {
    let postgres = postgres();
    let address = format!("127.0.0.1:{}", postgres.port());
    let mut without = Command::new(binary());
    without.args(["--upstream", &address]).env_remove("PGUSER").env_remove("PGPASSWORD");
    let told = stderr(&without.output().unwrap());
    assert!(told.contains("PGUSER") && told.contains("PGPASSWORD"), "{told}");

    let bed = Bed::new(Interrupt::default()).unwrap();
    let mut command = Command::new(binary());
    command.args(["--upstream", &address]);
    command.env("PGUSER", APP_USER.user).env("PGPASSWORD", APP_USER.password);
    let mut daemon = bed.spawn("pgmesh", &mut command, Signal::KILL).unwrap();
    let mut ended = None;
    eventually("pgmesh is up, or says why not", || {
        ended = daemon.exited().unwrap();
        ended.is_some() || daemon.log().contains("pgmesh is up")
    });
    if let Some(status) = ended {
        // The ports are fixed: whoever has them already must be named.
        let log = daemon.log();
        let names = |port: u16| log.contains(&port.to_string());
        assert!(!status.success() && (names(PORT) || names(METRICS_PORT)), "{log}");
        return;
    }
    let login = Login::new(PORT, APP_USER, APP_DATABASE);
    assert_eq!(login.psql("SELECT current_user").unwrap(), "app_user");
    let wrong = Login { password: "wrong".to_owned(), ..login };
    assert!(wrong.psql("SELECT 1").is_err());
    assert_eq!(http::get(METRICS_PORT, "/ready").unwrap().status, 200);
    let log = daemon.log();
    assert!(log.contains("a failover to another host is not followed"), "{log}");
    assert!(!log.contains(APP_USER.password), "{log}");
}
