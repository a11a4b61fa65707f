//! Proxies side by side: a CancelRequest that comes to the wrong one finds its way, and nothing
//! else does.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use testbed::{Login, Pgmesh, Port, Postgres};
use wire::{CancelKey, CancelSecret, KeyOwner, PeerChallenge, PeerHello, Version, put_peer_hello};

use crate::certificates::Authority;
use crate::clients::{Raw, ask_to_cancel, cancel};
use crate::metrics::{eventually, sample, wait_for};
use crate::postgres;
use crate::proxy::Setup;
use crate::{wait_for_sleep, wait_for_sleeps};

const SECRET: &str = "what all the peers know";

/// A proxy to be, with a number and a place where its peers find it.
struct Place {
    id: u16,
    port: Port,
}

impl Place {
    fn new(id: u16) -> Self {
        Self { id, port: Port::reserve().unwrap() }
    }

    /// With peers at these addresses. They find it on a port of its own: only that one can be
    /// told before it is there.
    fn setup(&self, postgres: &Postgres, peers: &[String]) -> Setup {
        let peers: Vec<String> = peers.iter().map(|peer| format!("\"{peer}\"")).collect();
        let keys = format!(
            "id = {}\naddresses = [{}]\nsecret = \"{SECRET}\"\ntimeout = \"20s\"",
            self.id,
            peers.join(", ")
        );
        Setup::before(postgres)
            .with("proxy", &format!("any_port = {}", self.port))
            .with("peers", &keys)
    }

    fn address(&self) -> String {
        address(self.port.number())
    }
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Two proxies that know each other.
fn pair(postgres: &Postgres, ids: [u16; 2]) -> [Pgmesh; 2] {
    let places = ids.map(Place::new);
    let [first, second] = &places;
    [
        first.setup(postgres, &[second.address()]).start(),
        second.setup(postgres, &[first.address()]).start(),
    ]
}

fn wait_for_cancels(mesh: &Pgmesh, outcome: &str, count: f64) {
    wait_for(mesh, "pgmesh_cancels_total", &format!("outcome=\"{outcome}\""), count);
}

fn cancels(mesh: &Pgmesh) -> f64 {
    sample(mesh, "pgmesh_cancels_total", "")
}

/// A key that a proxy may have given, and did not.
fn invented(owner: u16) -> CancelKey {
    let pid = KeyOwner::new(owner).unwrap().pid(123_456);
    CancelKey { pid, secret: CancelSecret::new(&[1; 4]).unwrap() }
}

/// Has a statement of a client of `owner` cancelled through `other`.
fn cancel_through(other: &Pgmesh, owner: &Pgmesh, version: Version, postgres: &Postgres) {
    let mut client = Raw::log_in_with(&owner.app(), version, &[]).unwrap();
    client.ask("SELECT pg_sleep(60)");
    wait_for_sleep(postgres);
    cancel(other.port(), client.key.as_ref().unwrap());
    let answer = client.answer();
    assert_eq!((answer.errors[0].code.as_str(), answer.status), ("57014", 'I'));
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn a_cancel_finds_its_client_through_the_other_proxy() {
    let postgres = postgres();
    let [first, second] = pair(&postgres, [1, 2]);
    for (version, secret_len, round) in [(Version::V3_0, 4, 1.0), (Version::V3_2, 32, 2.0)] {
        for (owner, other, id) in [(&first, &second, 1), (&second, &first, 2)] {
            let client = Raw::log_in_with(&owner.app(), version, &[]).unwrap();
            let key = client.key.as_ref().unwrap();
            assert_eq!(key.secret.expose().len(), secret_len);
            assert_eq!(KeyOwner::of(key.pid), KeyOwner::new(id));
            cancel_through(other, owner, version, &postgres);
            wait_for_cancels(other, "forwarded", round);
            wait_for_cancels(owner, "delivered", round);
        }
    }
    // Of one's own clients nobody else is asked.
    cancel_through(&first, &first, Version::V3_0, &postgres);
    wait_for_cancels(&first, "delivered", 3.0);
    assert_eq!((cancels(&first), cancels(&second)), (5.0, 4.0));
    for log in [first.log(), second.log()] {
        assert!(!log.contains(SECRET), "{log}");
    }
}

/// One connection after another goes to the next port, as with a balancer in front.
fn balancer(ports: [u16; 2]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for port in ports.into_iter().cycle() {
            let (client, _) = listener.accept().unwrap();
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            for (mut from, mut to) in
                [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
            {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    port
}

#[test]
fn a_driver_behind_a_balancer_can_cancel() {
    let postgres = Arc::new(postgres());
    let [first, second] = pair(&postgres, [1, 2]);
    let watched = Arc::clone(&postgres);
    let mut login = first.app();
    login.port = balancer([first.port(), second.port()]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connected = tokio_postgres::connect(&login.uri(), tokio_postgres::NoTls).await;
        let (client, connection) = connected.unwrap();
        tokio::spawn(connection);
        let sleeping = async { client.simple_query("SELECT pg_sleep(60)").await.unwrap_err() };
        let token = client.cancel_token();
        let cancelling = async {
            let sleeps = tokio::task::spawn_blocking(move || wait_for_sleep(&watched));
            sleeps.await.unwrap();
            token.cancel_query(tokio_postgres::NoTls).await.unwrap();
        };
        let (error, ()) = tokio::join!(sleeping, cancelling);
        assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::QUERY_CANCELED));
    });
    wait_for_cancels(&second, "forwarded", 1.0);
}

#[test]
fn what_is_interrupted_in_psql_behind_a_balancer_is_its_statement_and_no_other() {
    let postgres = postgres();
    let [first, second] = pair(&postgres, [1, 2]);
    let mut neighbours = [&first, &second].map(|mesh| Raw::log_in(&mesh.app()));
    for neighbour in &mut neighbours {
        neighbour.ask("SELECT 'slept' FROM pg_sleep(60)");
    }
    wait_for_sleeps(&postgres, 2);
    let login = Login { port: balancer([first.port(), second.port()]), ..first.app() };
    let psql = login
        .command("psql")
        .unwrap()
        .args(["-X", "-c", "SELECT pg_sleep(60)"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_sleeps(&postgres, 3);
    // As Ctrl-C does. Its CancelRequest is a connection of its own, and goes to the other proxy.
    let signalled = Command::new("kill").args(["-INT", &psql.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    let said = psql.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("canceling statement due to user request"), "{said}");
    wait_for_cancels(&second, "forwarded", 1.0);
    wait_for_cancels(&first, "delivered", 1.0);
    assert_eq!((cancels(&first), cancels(&second)), (1.0, 1.0));
    wait_for_sleeps(&postgres, 2);
    for neighbour in &mut neighbours {
        neighbour.cancel();
        assert_eq!(neighbour.answer().errors[0].code, "57014");
    }
}

#[test]
fn a_proxy_that_does_not_know_the_secret_is_refused() {
    let postgres = postgres();
    let place = Place::new(1);
    let owner = place.setup(&postgres, &[]).start();
    let peer = place.address();
    let keys = format!("id = 2\naddresses = [\"{peer}\"]\nsecret = \"not what they know\"");
    let stranger = Setup::before(&postgres).with("peers", &keys).start();
    let mut client = Raw::log_in(&owner.app());
    client.ask("SELECT pg_sleep(60)");
    wait_for_sleep(&postgres);
    cancel(stranger.port(), client.key.as_ref().unwrap());
    wait_for_cancels(&owner, "peer_refused", 1.0);
    wait_for_cancels(&stranger, "unknown_key", 1.0);
    wait_for_sleep(&postgres);
    assert!(owner.log().contains("peer refused"), "{}", owner.log());
    client.cancel();
    assert_eq!(client.answer().errors[0].code, "57014");
}

#[test]
fn what_nobody_knows_is_asked_once_and_goes_round_in_no_circle() {
    let postgres = postgres();
    // With one number, as when a file was copied: each asks the other about any key.
    let [first, second] = pair(&postgres, [7, 7]);
    cancel(first.port(), &invented(7));
    wait_for_cancels(&first, "unknown_key", 1.0);
    wait_for_cancels(&second, "unknown_key", 1.0);
    // It works all the same, and what came before has left nothing behind.
    cancel_through(&second, &first, Version::V3_0, &postgres);
    wait_for_cancels(&second, "forwarded", 1.0);
    wait_for_cancels(&first, "delivered", 1.0);
    assert_eq!((cancels(&first), cancels(&second)), (2.0, 2.0));
    // A key of nobody is nobody's to ask for.
    cancel(first.port(), &CancelKey { pid: 5, ..invented(7) });
    wait_for_cancels(&first, "unknown_key", 2.0);
    assert_eq!(cancels(&second), 2.0);
}

#[test]
fn a_proxy_among_its_own_peers_knows_itself() {
    let postgres = postgres();
    let place = Place::new(1);
    let mesh = place.setup(&postgres, &[place.address()]).start();
    cancel(mesh.port(), &invented(1));
    wait_for_cancels(&mesh, "unknown_key", 1.0);
    wait_for(&mesh, "pgmesh_clients", "", 0.0);
    assert_eq!(cancels(&mesh), 1.0);
}

#[test]
fn peers_are_found_by_name() {
    let postgres = postgres();
    let place = Place::new(1);
    let (port, owner) = (place.port.number(), place.setup(&postgres, &[]).start());
    // Localhost may be two addresses, and nobody listens on the other.
    let keys = format!("dns = \"localhost\"\nport = {port}\nsecret = \"{SECRET}\"");
    let other = Setup::before(&postgres).with("peers", &keys).start();
    eventually("the addresses of a name", || other.log().contains("peers have changed"));
    cancel_through(&other, &owner, Version::V3_2, &postgres);
    wait_for_cancels(&other, "forwarded", 1.0);
}

#[test]
fn peers_need_no_tls_where_clients_must_use_it() {
    let postgres = postgres();
    let places = [1, 2].map(Place::new);
    let authority = Authority::new();
    let keys = format!("mode = \"require\"\n{}", authority.sign_to_files(&["localhost"]));
    let owner = places[0].setup(&postgres, &[]).with("proxy.tls", &keys).start();
    let other = places[1].setup(&postgres, &[places[0].address()]).start();
    cancel(other.port(), &invented(1));
    wait_for_cancels(&owner, "unknown_key", 1.0);
    wait_for_cancels(&other, "unknown_key", 1.0);
}

#[test]
fn a_peer_that_is_down_or_no_pgmesh_keeps_nobody_from_the_others() {
    let postgres = postgres();
    let (places, nobody) = ([1, 2].map(Place::new), Port::reserve().unwrap());
    let peers = [address(nobody.number()), address(postgres.port()), places[0].address()];
    let owner = places[0].setup(&postgres, &[]).start();
    let other = places[1].setup(&postgres, &peers).start();
    cancel_through(&other, &owner, Version::V3_0, &postgres);
    wait_for_cancels(&other, "forwarded", 1.0);
    // Of a key that nobody takes they might have been the owner.
    cancel(other.port(), &invented(1));
    wait_for_cancels(&other, "failed", 1.0);
    wait_for_cancels(&owner, "unknown_key", 1.0);
}

#[test]
fn invented_keys_cannot_use_up_the_sockets() {
    let postgres = postgres();
    let place = Place::new(1);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mesh = place.setup(&postgres, &[address(silent.local_addr().unwrap().port())]).start();
    let waiting: Vec<_> = (0..40).map(|_| ask_to_cancel(mesh.port(), &invented(2))).collect();
    // 32 wait for an answer that does not come.
    wait_for_cancels(&mesh, "failed", 8.0);
    assert!(mesh.log().contains("too many cancel requests for peers"));
    // Those of one's own clients need none of that.
    cancel_through(&mesh, &mesh, Version::V3_0, &postgres);
    drop((silent, waiting));
    wait_for_cancels(&mesh, "failed", 40.0);
}

/// Sends bytes and gives all that comes back until the connection ends.
fn answer_to(port: u16, bytes: &[&[u8]]) -> Vec<u8> {
    let client = Raw::connect(port);
    let mut socket = client.socket();
    let mut answer = Vec::new();
    for (at, bytes) in bytes.iter().enumerate() {
        if at > 0 {
            let mut challenge = [0; PeerChallenge::LEN];
            socket.read_exact(&mut challenge).unwrap();
        }
        socket.write_all(bytes).unwrap();
    }
    match socket.read_to_end(&mut answer) {
        Ok(_) => answer,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => answer,
        Err(error) => panic!("still open: {error}"),
    }
}

#[test]
fn whoever_says_to_be_a_peer_and_proves_nothing_is_told_nothing() {
    let postgres = postgres();
    let mut hello = Vec::new();
    put_peer_hello(&mut hello, &PeerHello { nonce: [1; 16] });
    let keys = format!("secret = \"{SECRET}\"\ntimeout = \"300ms\"");
    let mut mesh = Setup::before(&postgres).with("peers", &keys).start();
    // Garbage, and more than was asked for.
    assert_eq!(answer_to(mesh.port(), &[&hello, &[0xa5; 68]]), b"");
    assert_eq!(answer_to(mesh.port(), &[&hello, &[0xa5; 4096]]), b"");
    wait_for_cancels(&mesh, "peer_refused", 2.0);
    // Silence.
    assert_eq!(answer_to(mesh.port(), &[&hello, b""]), b"");
    assert_eq!(answer_to(mesh.port(), &[&hello, &[0; 67]]), b"");
    wait_for_cancels(&mesh, "peer_refused", 4.0);
    // What is no hello, or more than one.
    let refused = sample(&mesh, "pgmesh_refusals_total", "reason=\"protocol\"");
    let newer = [&hello[..8], &[9; 17]].concat();
    for broken in [&newer, &[&hello[..], b"x"].concat()] {
        assert_eq!(answer_to(mesh.port(), &[broken]), b"");
    }
    Raw::connect(mesh.port()).send(&hello[..24]);
    wait_for(&mesh, "pgmesh_refusals_total", "reason=\"protocol\"", refused + 3.0);
    wait_for(&mesh, "pgmesh_clients", "", 0.0);
    assert_eq!(mesh.app().psql("SELECT 1").unwrap(), "1");
    assert!(mesh.exited().unwrap().is_none() && !mesh.log().contains("panicked"));

    // Where nothing is known of peers, there is not even a challenge.
    let alone = Setup::before(&postgres).start();
    assert_eq!(answer_to(alone.port(), &[&hello]), b"");
    wait_for_cancels(&alone, "peer_refused", 1.0);
}
