//! `pgmesh import`: files that people have, and a pgmesh that stands in for the PgBouncer they
//! came from.

use std::path::Path;
use std::process::{Command, Output};

use testbed::{
    APP_DATABASE, APP_USER, Login, PgBouncer, PgBouncerOptions, Pgmesh, PgmeshOptions, packages,
};

use crate::postgres;
use crate::proxy::binary;

/// Files of Debian's packages, which are there once these are installed.
const SAMPLES: [(&str, &str); 3] = [
    ("--pgbouncer", "/usr/share/doc/pgbouncer/examples/pgbouncer.ini"),
    ("--haproxy", "/etc/haproxy/haproxy.cfg"),
    ("--haproxy", "/usr/share/doc/patroni/examples/haproxy.cfg"),
];

fn import(arguments: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(binary());
    command.arg("import");
    for (name, value) in arguments {
        command.arg(name).arg(value);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The result, which has to be one.
fn toml(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_samples_of_debian_and_patroni_become_configurations() {
    let wanted = [&packages::CLUSTER[..], &[packages::PGBOUNCER, packages::HAPROXY]].concat();
    packages::ensure(&wanted).unwrap();
    for (name, path) in SAMPLES.iter().filter(|(_, path)| Path::new(path).exists()) {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("proxy.toml");
        let output = import(&[(name, Path::new(path))]);
        let toml = toml(&output);
        // Files of secrets are not there yet, nor certificates.
        std::fs::write(&config, toml.replace("{ file = ", "\"x\" # {")).unwrap();
        let check = Command::new(binary()).arg("check").arg("--config").arg(&config).output();
        let check = check.unwrap();
        assert!(check.status.success(), "{path}: {}\n{toml}", text(&check.stderr));
        assert!(text(&output.stderr).contains("left to you"), "{}", text(&output.stderr));
    }
    let patroni = SAMPLES[2].1;
    if Path::new(patroni).exists() {
        let toml = toml(&import(&[("--haproxy", Path::new(patroni))]));
        for part in ["port = 5000", "http://127.0.0.1:8008", "max_client_connections = 100"] {
            assert!(toml.contains(part), "{part} in {toml}");
        }
    }
}

#[test]
fn nothing_to_import_is_an_error() {
    for arguments in [&[][..], &[("--pgbouncer", Path::new("/no/such.ini"))]] {
        let output = import(arguments);
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        assert!(text(&output.stderr).contains("pgbouncer") || !arguments.is_empty());
    }
}

#[test]
fn what_is_imported_serves_as_the_pgbouncer_did() {
    packages::ensure(&[packages::PGBOUNCER]).unwrap();
    let postgres = postgres();
    let pgbouncer = PgBouncer::start(&postgres, &PgBouncerOptions::installed().unwrap()).unwrap();
    let ini = std::fs::read_to_string(pgbouncer.config()).unwrap();
    let userlist = ini.lines().find_map(|line| line.strip_prefix("auth_file = ")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let secrets = directory.path().join("secrets");
    let arguments = [
        ("--pgbouncer", pgbouncer.config()),
        ("--userlist", userlist.into()),
        ("--secrets", secrets.clone()),
    ];
    let arguments = arguments.each_ref().map(|(name, path)| (*name, path.as_path()));
    let output = import(&arguments);
    let toml = toml(&output);
    let told = text(&output.stderr);
    assert!(!toml.contains(APP_USER.password) && !told.contains(APP_USER.password), "{toml}");
    let secret = std::fs::read_to_string(secrets.join("user-app_user")).unwrap();
    assert_eq!(secret, APP_USER.password);
    // What is there is not written again.
    assert!(!import(&arguments).status.success());

    let pgmesh = Pgmesh::start_with(&PgmeshOptions::new(binary()), |ports| {
        let theirs = format!("port = {}\n", pgbouncer.port());
        assert!(toml.contains(&theirs), "{toml}");
        let toml = toml.replace(&theirs, &format!("port = {}\n", ports.sql));
        format!("{toml}[metrics]\nlisten = \"127.0.0.1:{}\"\n", ports.metrics)
    });
    let pgmesh = pgmesh.unwrap();
    for port in [pgbouncer.port(), pgmesh.port()] {
        let login = Login::new(port, APP_USER, APP_DATABASE);
        assert_eq!(login.psql("SELECT current_user").unwrap(), "app_user", "{toml}");
        let wrong = Login { password: "wrong".to_owned(), ..login.clone() };
        assert!(wrong.psql("SELECT 1").is_err());
        let stranger = Login { user: "nobody".to_owned(), ..login.clone() };
        assert!(stranger.psql("SELECT 1").is_err());
        // A database that the server has, and that the file does not name.
        let other = Login { database: "postgres".to_owned(), ..login };
        assert!(other.psql("SELECT 1").is_err());
    }
}
