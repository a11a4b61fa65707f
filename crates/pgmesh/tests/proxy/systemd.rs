//! What a service manager is told, the sockets that it gives, and its unit files.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use testbed::{APP_DATABASE, APP_USER, Login, Port, Signal};

use crate::clients::Raw;
use crate::metrics::eventually;
use crate::postgres;
use crate::proxy::{Setup, binary};

const PATIENCE: Duration = Duration::from_secs(60);

/// The next datagram, as lines.
fn told(manager: &UnixDatagram) -> Vec<String> {
    let mut datagram = [0; 1024];
    let len = manager.recv(&mut datagram).unwrap();
    String::from_utf8_lossy(&datagram[..len]).lines().map(str::to_owned).collect()
}

#[test]
fn the_service_manager_is_told_of_start_reload_and_stop() {
    let (postgres, directory) = (postgres(), TempDir::new().unwrap());
    let socket = directory.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let setup = Setup::before(&postgres).environment("NOTIFY_SOCKET", socket.to_str().unwrap());
    let mut mesh = setup.start();
    assert_eq!(told(&manager), ["READY=1", "STATUS=taking clients"]);
    mesh.signal(Signal::HUP);
    let reloading = told(&manager);
    assert_eq!(reloading[0], "RELOADING=1");
    assert!(reloading[1].starts_with("MONOTONIC_USEC="), "{reloading:?}");
    assert_eq!(told(&manager), ["READY=1"]);
    assert_eq!(mesh.stop(Signal::TERM, PATIENCE).unwrap().code(), Some(0));
    assert_eq!(told(&manager)[0], "STOPPING=1");
}

#[test]
fn a_socket_that_the_service_manager_has_opened_is_taken() {
    let (postgres, directory) = (postgres(), TempDir::new().unwrap());
    // It stays open here, so nobody else can open it.
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let metrics = Port::reserve().unwrap();
    let config = directory.path().join("proxy.toml");
    let toml = format!(
        "[proxy]\nlisten = \"127.0.0.1\"\nport = {port}\n[metrics]\nlisten = \"127.0.0.1:{metrics}\"\n\
         [cluster]\ndiscovery = \"static\"\nnodes = [\"127.0.0.1:{}\"]\n\
         [[users]]\nname = \"{}\"\npassword = \"{}\"\n",
        postgres.port(),
        APP_USER.user,
        APP_USER.password
    );
    std::fs::write(&config, toml).unwrap();
    let start = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" run --config \"$1\" 3<&0 2>\"$2\"";
    let log = directory.path().join("log");
    let mut mesh = Command::new("sh")
        .args(["-c", start])
        .args([binary().as_path(), &config, &log])
        .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())))
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("it is up", || said().contains("pgmesh is up"));
    // The client waits in the queue until it is accepted.
    let login = Login::new(port, APP_USER, APP_DATABASE);
    assert_eq!(Raw::log_in(&login).value("SELECT 1"), "1");
    mesh.kill().unwrap();
    mesh.wait().unwrap();
}

#[test]
fn the_unit_files_are_right() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        println!("skipped: there is no systemd-analyze here");
        return;
    };
    assert!(version.status.success());
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd");
    let directory = TempDir::new().unwrap();
    let paths = ["pgmesh.service", "pgmesh.socket"].map(|name| {
        let unit = std::fs::read_to_string(units.join(name)).unwrap();
        let path = directory.path().join(name);
        // It looks whether the programs are there.
        let here = binary().display().to_string();
        std::fs::write(&path, unit.replace("/usr/bin/pgmesh", &here)).unwrap();
        path
    });
    let verified = Command::new("systemd-analyze").arg("verify").args(paths).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    let ours = said.lines().filter(|line| line.contains("pgmesh")).collect::<Vec<_>>();
    assert!(verified.status.success() && ours.is_empty(), "{said}");
}
