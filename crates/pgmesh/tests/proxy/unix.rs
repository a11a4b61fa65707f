//! Clients on the same machine, over a Unix socket.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::unistd::{Uid, User};
use tempfile::TempDir;
use testbed::{
    APP_USER, Bed, Interrupt, Login, Pgmesh, Postgres, PostgresOptions, Role, Signal, run,
};
use wire::{ErrorFields, Version, put_startup};

use crate::certificates::Authority;
use crate::metrics::{eventually, sample, wait_for};
use crate::proxy::{Setup, binary};
use crate::{postgres, wait_for_sleep};

const PATIENCE: Duration = Duration::from_secs(60);

/// One that other users of the machine can reach.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

fn with_sockets(setup: Setup, directory: &Path) -> Setup {
    setup.with("proxy", &format!("unix_socket_dir = \"{}\"", directory.display()))
}

/// psql at the socket of this login's port.
fn psql(login: &Login, directory: &Path) -> Command {
    let mut psql = login.command("psql").unwrap();
    psql.env("PGHOST", directory).args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
    psql
}

/// What psql says, or why it failed.
fn ask(login: &Login, directory: &Path, sql: &str, input: &str) -> Result<String, String> {
    let mut psql = psql(login, directory);
    let said = run(psql.args(["-c", sql]), input, PATIENCE, &Interrupt::default());
    said.map(|rows| rows.trim_end().to_owned()).map_err(|error| error.to_string())
}

fn without_password(login: &Login, user: &str) -> Login {
    Login { user: user.to_owned(), password: String::new(), ..login.clone() }
}

fn socket(mesh: &Pgmesh, directory: &Path) -> PathBuf {
    directory.join(format!(".s.PGSQL.{}", mesh.port()))
}

#[test]
fn a_client_logs_in_with_its_password_and_works() {
    let (postgres, directory, authority) = (postgres(), directory(), Authority::new());
    // What holds for TCP does not hold here: libpq knows no TLS on a Unix socket.
    let tls = format!("mode = \"require\"\n{}", authority.sign_to_files(&["localhost"]));
    let setup = Setup::before(&postgres).with("proxy.tls", &tls);
    let mesh = with_sockets(setup, directory.path()).start();
    let (app, here) = (mesh.app(), directory.path());
    assert_eq!(ask(&app, here, "SELECT current_user", "").unwrap(), APP_USER.user);
    let said = ask(&app, here, "\\conninfo", "").unwrap();
    assert!(said.contains("via socket in") && !said.contains("SSL"), "{said}");
    let wrong = Login { password: "wrong".to_owned(), ..app.clone() };
    let refused = ask(&wrong, here, "SELECT 1", "").unwrap_err();
    assert!(refused.contains("password authentication failed for user \"app_user\""), "{refused}");

    // More than any buffer on the way holds, there and back.
    let rows = 200_000;
    ask(&app, here, "CREATE TABLE t (n int, text text)", "").unwrap();
    let lines: String =
        (0..rows).map(|n| format!("{n}\tsome text to make it {n} wide\n")).collect();
    ask(&app, here, "COPY t FROM STDIN", &lines).unwrap();
    let back = ask(&app, here, "COPY (SELECT * FROM t ORDER BY n) TO STDOUT", "").unwrap();
    assert!(back == lines.trim_end(), "{} bytes, {} came back", lines.len(), back.len());
    let selected = ask(&app, here, "SELECT n FROM t", "").unwrap();
    assert_eq!(selected.lines().count(), rows);

    assert!(sample(&mesh, "pgmesh_accepts_total", "via=\"unix\"") >= 7.0);
    eventually("the refusal in the log", || mesh.log().contains("peer=local"));
}

/// What a client is told that only says whom it wants to be.
fn refusal(path: &Path, user: &str) -> (String, String) {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut startup = Vec::new();
    put_startup(&mut startup, Version::V3_0, [("user", user), ("database", "app")]);
    stream.write_all(&startup).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer[0], b'E', "{}", String::from_utf8_lossy(&answer));
    let fields = ErrorFields::parse(&answer[5..]).unwrap();
    (fields.code.to_owned(), fields.message.to_owned())
}

#[test]
fn peer_lets_in_whom_the_operating_system_names() {
    let directory = directory();
    let mut options = PostgresOptions::default();
    options.roles.push(Role::new("other", "other_password"));
    let postgres = Postgres::start(options).unwrap();
    let me = User::from_uid(Uid::effective()).unwrap().unwrap().name;
    let rules = format!(
        "[[hba]]\ntype = 'local'\nuser = 'app_user'\nmethod = 'peer'\noptions = 'map=os'\n\
         [[hba]]\ntype = 'local'\nmethod = 'peer'\n\
         [[hba]]\ntype = 'host'\nmethod = 'scram-sha-256'\n\
         [[ident]]\nmap = 'os'\nsystem_user = '{me}'\ndatabase_user = 'app_user'\n"
    );
    let setup = Setup::before(&postgres).user("other", "other_password", &rules);
    let mesh = with_sockets(setup, directory.path()).start();
    let (app, here) = (without_password(&mesh.app(), APP_USER.user), directory.path());
    assert_eq!(ask(&app, here, "SELECT current_user", "").unwrap(), APP_USER.user);

    let (code, message) = refusal(&socket(&mesh, here), "other");
    let expected = "Peer authentication failed for user \"other\"";
    assert_eq!((code.as_str(), message.as_str()), ("28000", expected));
    let why = format!("do not match (the operating system's user is {me})");
    eventually("the reason in the log", || mesh.log().contains(&why));
    // The password helps nobody where the rule wants none, nor over TCP without.
    let with_password = Login { password: "other_password".to_owned(), ..app.clone() };
    let refused = ask(&Login { user: "other".to_owned(), ..with_password }, here, "SELECT 1", "");
    assert!(refused.unwrap_err().contains(expected));
    assert!(app.psql("SELECT 1").is_err());

    if Uid::effective().is_root() {
        // It is the client's user that counts.
        let mut nobody = psql(&app, here);
        nobody.uid(65534).gid(65534).args(["-c", "SELECT 1"]);
        let output = nobody.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("Peer authentication failed for user \"app_user\""), "{said}");
    }
    let refused = || sample(&mesh, "pgmesh_refusals_total", "reason=\"authentication\"");
    eventually("refusals that are counted", || refused() >= 2.0);
}

#[test]
fn what_is_interrupted_in_psql_is_cancelled() {
    let (postgres, directory) = (postgres(), directory());
    let mesh = with_sockets(Setup::before(&postgres), directory.path()).start();
    let mut sleeper = psql(&mesh.app(), directory.path());
    let sleeper = sleeper.args(["-c", "SELECT pg_sleep(60)"]).stderr(Stdio::piped()).spawn();
    let sleeper = sleeper.unwrap();
    wait_for_sleep(&postgres);
    let id = sleeper.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let said = sleeper.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("canceling statement due to user request"), "{said}");
    wait_for(&mesh, "pgmesh_cancels_total", "outcome=\"delivered\"", 1.0);
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The same but for its addresses, so that the Unix socket is all that two of them would share.
fn beside(mesh: &Pgmesh, place: &Path) -> Command {
    let toml = std::fs::read_to_string(mesh.config()).unwrap();
    let toml = toml.replace("listen = \"127.0.0.1", "listen = \"127.0.0.2");
    let path = place.join("second.toml");
    std::fs::write(&path, toml).unwrap();
    let mut command = Command::new(binary());
    command.arg("--config").arg(path);
    command
}

#[test]
fn a_socket_belongs_to_one_process_and_goes_with_it() {
    let (postgres, directory, bed) =
        (postgres(), directory(), Bed::new(Interrupt::default()).unwrap());
    let mut mesh = with_sockets(Setup::before(&postgres), directory.path()).start();
    let (app, here) = (mesh.app(), directory.path());
    let name = format!(".s.PGSQL.{}", mesh.port());
    let both = [name.clone(), format!("{name}.lock")];
    assert_eq!(names(here), both);

    let second = beside(&mesh, bed.path()).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    let expected = format!("{name} is in use by process {}: stop", mesh.id());
    assert!(!second.status.success() && said.contains(&expected), "{said}");
    assert_eq!(ask(&app, here, "SELECT 1", "").unwrap(), "1", "the first is not harmed");

    // A process that is killed cannot clean up; the next one does.
    mesh.stop(Signal::KILL, PATIENCE).unwrap();
    assert_eq!(names(here), both);
    assert!(ask(&app, here, "SELECT 1", "").is_err());
    let mut second = bed.spawn("second", &mut beside(&mesh, bed.path()), Signal::KILL).unwrap();
    eventually("the second serves", || ask(&app, here, "SELECT 1", "").is_ok());
    assert_eq!(names(here), both);
    second.stop(Signal::TERM, PATIENCE).unwrap();
    assert!(names(here).is_empty(), "{:?}", names(here));
}
