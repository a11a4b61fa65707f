//! Real clients over real sockets: psql (libpq) and tokio-postgres, plain and inside TLS.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peer;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Output;

use frontend::{BindError, Config, Endpoint, Listener, Port, UnixSockets};
use peer::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use transport::{Acceptor, ClientTls, Inherited, Negotiation, Socket, TlsMode, UnixAccess};

fn tcp_address(listener: &Listener) -> SocketAddr {
    match listener.endpoint() {
        Endpoint::Tcp(address) => *address,
        other => panic!("{other}"),
    }
}

struct Door {
    listener: Listener,
    acceptor: Acceptor,
}

fn door(mode: TlsMode) -> Door {
    let listen = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let config = Config { listen, port: 0, ..Config::default() };
    let [listener] =
        Listener::bind(&config, &mut Inherited::default()).unwrap().listeners.try_into().unwrap();
    assert_eq!(listener.port(), Port::Primary);
    Door { listener, acceptor: acceptor(mode) }
}

impl Door {
    /// Takes clients through the login, one after the other, until one gets a session, and
    /// answers its first query with nothing. Gives the labels of all.
    async fn serve(&self) -> Vec<String> {
        let mut kinds = Vec::new();
        loop {
            // A client that gave up does not come back: fail rather than hang.
            let accept = tokio::time::timeout(LOGIN_TIMEOUT, self.listener.accept());
            let (stream, _) = accept.await.unwrap().unwrap();
            let Socket::Tcp(stream) = stream else { panic!("{stream:?}") };
            assert!(stream.nodelay().unwrap());
            match serve(stream, &self.acceptor).await {
                Outcome::Session(mut session) => {
                    let tls = session.stream.tls_version().unwrap_or("plain");
                    kinds.push(format!("{tls} {:?}", session.startup.parameter("work_mem")));
                    let mut query = [0; 1024];
                    assert_ne!(session.stream.read(&mut query).await.unwrap(), 0);
                    // EmptyQueryResponse and ReadyForQuery.
                    session.stream.write_all(b"I\0\0\0\x04Z\0\0\0\x05I").await.unwrap();
                    session.stream.flush().await.unwrap();
                    // Terminate, or the end.
                    let _ = session.stream.read(&mut query).await;
                    return kinds;
                }
                outcome => kinds.push(outcome.kind().to_owned()),
            }
        }
    }

    fn address(&self) -> SocketAddr {
        tcp_address(&self.listener)
    }

    async fn psql(&self, user: &str, password: &str, sslmode: &str) -> Output {
        self.psql_with(user, password, &format!("sslmode={sslmode}")).await
    }

    async fn psql_with(&self, user: &str, password: &str, more: &str) -> Output {
        let port = self.address().port();
        Command::new("psql")
            .arg(format!("host=127.0.0.1 port={port} user={user} dbname=d {more}"))
            .args(["-X", "-w", "-c", ";"])
            .env("PGPASSWORD", password)
            .env("PGOPTIONS", "-c work-mem=4\\ MB")
            .kill_on_drop(true)
            .output()
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn psql_logs_in_plain_and_inside_tls() {
    for (sslmode, seen) in [("disable", "plain"), ("prefer", "TLSv1.3"), ("require", "TLSv1.3")] {
        for (user, password) in [("alice", "secret"), ("bob", "bobs")] {
            let door = door(TlsMode::Prefer);
            let (kinds, output) = tokio::join!(door.serve(), door.psql(user, password, sslmode));
            assert!(output.status.success(), "{output:?}");
            assert_eq!(kinds, [format!("{seen} Some(\"4 MB\")")]);
        }
    }
}

#[tokio::test]
async fn psql_binds_its_login_to_tls_where_it_must() {
    for (user, password) in [("alice", "secret"), ("bob", "bobs")] {
        let door = door(TlsMode::Prefer);
        let psql = door.psql_with(user, password, "sslmode=require channel_binding=require");
        let (kinds, output) = tokio::join!(door.serve(), psql);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(kinds, ["TLSv1.3 Some(\"4 MB\")"]);
    }
    // libpq's own words: with PostgreSQL it fails with the same.
    let door = door(TlsMode::Prefer);
    let output = tokio::select! {
        kinds = door.serve() => panic!("{kinds:?}"),
        output = door.psql_with("alice", "secret", "sslmode=disable channel_binding=require") => output,
    };
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("channel binding required, but SSL not in use"), "{text}");
}

/// libpq never sends it; a client between whom and us somebody has taken the binding away does.
#[tokio::test]
async fn a_client_that_was_not_shown_the_binding_sees_the_downgrade() {
    let acceptor = acceptor(TlsMode::Require);
    let tls = ClientTls { mode: TlsMode::Require, ..ClientTls::default() };
    let tls = ClientTls { negotiation: Negotiation::Direct, ..tls };
    let connector = tls.connector().unwrap();
    for (mechanism, first, state, kind) in [
        ("SCRAM-SHA-256", "y,,n=,r=abc", "28000", "sasl_channel_binding"),
        ("SCRAM-SHA-256-PLUS", "n,,n=,r=abc", "08P01", "sasl_channel_binding"),
        ("SCRAM-SHA-512", "n,,n=,r=abc", "08P01", "sasl_mechanism"),
    ] {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let talk = async {
            let mut client = Peer(connector.connect("localhost", near).await.unwrap());
            client.send(&startup(&[("user", "alice")])).await;
            let offered = client.authentication(10).await;
            assert_eq!(offered, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
            client.send(&initial_response(mechanism, Some(first.as_bytes()))).await;
            client.0.flush().await.unwrap();
            client.fatal(state).await;
        };
        let (outcome, ()) = tokio::join!(serve(far, &acceptor), talk);
        assert_eq!(outcome.kind(), kind, "{mechanism}");
    }
}

#[tokio::test]
async fn psql_shows_why_it_was_refused() {
    let cases = [
        ("alice", "wrong", "disable", "password authentication failed for user \"alice\""),
        ("carol", "secret", "require", "password authentication failed for user \"carol\""),
    ];
    for (user, password, sslmode, message) in cases {
        let door = door(TlsMode::Prefer);
        let output = tokio::select! {
            kinds = door.serve() => panic!("{kinds:?}"),
            output = door.psql(user, password, sslmode) => output,
        };
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(text.contains(&format!("FATAL:  {message}")), "{text}");
    }
}

#[tokio::test]
async fn a_client_that_prefers_plain_comes_back_with_tls_where_it_is_required() {
    let door = door(TlsMode::Require);
    let (kinds, output) = tokio::join!(door.serve(), door.psql("alice", "secret", "allow"));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(kinds, ["tls_required", "TLSv1.3 Some(\"4 MB\")"]);
}

#[tokio::test]
async fn tokio_postgres_logs_in_and_is_told_the_sqlstate() {
    let door = door(TlsMode::Prefer);
    let config = |password: &str| {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(door.address().port()).user("alice").password(password);
        config.options("--work-mem=4MB").dbname("d");
        config
    };
    let wrong = config("wrong");
    let error = tokio::select! {
        kinds = door.serve() => panic!("{kinds:?}"),
        outcome = wrong.connect(tokio_postgres::NoTls) => outcome.err().unwrap(),
    };
    assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::INVALID_PASSWORD));

    let right = config("secret");
    let talk = async {
        let (client, connection) = right.connect(tokio_postgres::NoTls).await.unwrap();
        assert_eq!(connection.parameter("server_version"), Some("15.0"));
        let query = async {
            client.batch_execute("").await.unwrap();
            drop(client);
        };
        let (ended, ()) = tokio::join!(connection, query);
        ended.unwrap();
    };
    let (kinds, ()) = tokio::join!(door.serve(), talk);
    assert_eq!(kinds, ["plain Some(\"4MB\")"]);
}

#[tokio::test]
async fn inside_tls_there_is_no_second_encryption_and_cancelling_works() {
    let door = door(TlsMode::Require);
    let connector =
        ClientTls { mode: TlsMode::Require, ..ClientTls::default() }.connector().unwrap();
    for (packet, kind) in [
        (ssl_request(), "version"),
        (gssenc_request(), "version"),
        (cancel_request(&[1; 4]), "(cancel)"),
    ] {
        let talk = async {
            let mut client = Peer(tokio::net::TcpStream::connect(door.address()).await.unwrap());
            client.send(&ssl_request()).await;
            assert_eq!(client.byte().await, b'S');
            let mut client = Peer(connector.connect("localhost", client.0).await.unwrap());
            client.send(&packet).await;
            client.0.flush().await.unwrap();
            match kind {
                "version" => drop(client.fatal("0A000").await),
                _ => client.end().await,
            }
        };
        let accept = async {
            let (stream, _) = door.listener.accept().await.unwrap();
            serve(stream, &door.acceptor).await.kind()
        };
        assert_eq!(tokio::join!(accept, talk), (kind, ()));
    }
}

#[tokio::test]
async fn direct_tls_leads_to_a_login_and_needs_no_further_encryption() {
    let acceptor = acceptor(TlsMode::Require);
    let tls = ClientTls {
        mode: TlsMode::Require,
        negotiation: Negotiation::Direct,
        ..ClientTls::default()
    };
    let connector = tls.connector().unwrap();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let talk = async {
        let mut client = Peer(connector.connect("localhost", near).await.unwrap());
        for request in [ssl_request(), gssenc_request()] {
            client.send(&request).await;
            client.0.flush().await.unwrap();
            assert_eq!(client.byte().await, b'N', "there is TLS already");
        }
        client.send(&startup(&[("user", "alice")])).await;
        client.log_in("secret").await;
        client
    };
    let (outcome, client) = tokio::join!(serve(far, &acceptor), talk);
    let Outcome::Session(session) = outcome else { panic!("{}", outcome.kind()) };
    assert_eq!(session.stream.server_certificate(), client.0.server_certificate());
    assert!(session.stream.is_tls());
}

#[tokio::test]
async fn direct_tls_is_closed_without_a_word_where_there_is_no_tls() {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let mut client = Peer(near);
    client.send(b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03").await;
    assert_eq!(serve(far, &Acceptor::disabled()).await.kind(), "startup_length");
    client.end().await;
}

/// Debian's libpq is too old for direct TLS, and OpenSSL's client speaks it as libpq does.
#[tokio::test]
async fn openssl_must_offer_alpn_in_direct_tls_and_need_not_behind_an_ssl_request() {
    let door = door(TlsMode::Require);
    let address = door.address().to_string();
    for (arguments, kind, negotiated) in [
        (&["-alpn", "postgresql"][..], "closed", true),
        (&["-alpn", "http/1.1"][..], "tls", false),
        (&[][..], "tls", false),
        (&["-starttls", "postgres"][..], "closed", true),
        (&["-starttls", "postgres", "-alpn", "postgresql"][..], "closed", true),
        (&["-starttls", "postgres", "-alpn", "h2"][..], "tls", false),
    ] {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address]).args(arguments);
        let output = command.stdin(std::process::Stdio::null()).output();
        let accept = async {
            let (stream, _) = door.listener.accept().await.unwrap();
            serve(stream, &door.acceptor).await.kind()
        };
        let (output, ended) = tokio::join!(output, accept);
        assert_eq!(ended, kind, "{arguments:?}");
        let said = String::from_utf8_lossy(&output.unwrap().stdout).into_owned();
        assert_eq!(said.contains("BEGIN CERTIFICATE"), negotiated, "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn a_health_check_that_resets_the_connection_is_no_error() {
    let door = door(TlsMode::Prefer);
    let check = tokio::net::TcpStream::connect(door.address()).await.unwrap();
    // Discards what is unsent and sends RST on close.
    check.set_zero_linger().unwrap();
    let (stream, _) = door.listener.accept().await.unwrap();
    drop(check);
    assert_eq!(serve(stream, &door.acceptor).await.kind(), "closed");
}

#[tokio::test]
async fn every_port_of_every_address_is_opened_or_none() {
    let localhost = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let config = Config {
        listen: localhost.clone(),
        port: 0,
        replica_port: Some(0),
        any_port: Some(0),
        ..Config::default()
    };
    let listeners = Listener::bind(&config, &mut Inherited::default()).unwrap().listeners;
    let ports: Vec<_> = listeners.iter().map(|listener| listener.port().as_str()).collect();
    assert_eq!(ports, ["primary", "replica", "any"]);
    let taken = tcp_address(&listeners[0]);
    let directory = tempfile::tempdir().unwrap();
    let access = UnixAccess { mode: 0o600, group: None };
    let unix = Some(UnixSockets { directory: directory.path().display().to_string(), access });
    let config = Config { replica_port: Some(1), any_port: Some(2), unix, ..Config::default() };
    let config = Config { listen: Vec::new(), ..config };
    let bound = Listener::bind(&config, &mut Inherited::default()).unwrap();
    let opened =
        bound.listeners.iter().map(|it| format!("{} {}", it.port().as_str(), it.endpoint()));
    let path = |port| format!("{}/.s.PGSQL.{port}", directory.path().display());
    let expected = ["primary", "replica", "any"]
        .into_iter()
        .zip([5432, 1, 2])
        .map(|(kind, port)| format!("{kind} {}", path(port)));
    assert_eq!(opened.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let again = Listener::bind(&config, &mut Inherited::default()).unwrap_err();
    assert!(matches!(again, BindError::Unix(_)), "{again}");

    let config = Config { listen: localhost, port: taken.port(), ..Config::default() };
    let error = Listener::bind(&config, &mut Inherited::default()).unwrap_err();
    assert!(matches!(error, BindError::Tcp { address, .. } if address == taken), "{error}");
}

fn unix_door(directory: &std::path::Path, mode: TlsMode) -> (Door, Vec<transport::SocketFile>) {
    let access = UnixAccess { mode: 0o600, group: None };
    let unix = UnixSockets { directory: directory.display().to_string(), access };
    let config = Config { listen: Vec::new(), port: 5432, unix: Some(unix), ..Config::default() };
    let bound = Listener::bind(&config, &mut Inherited::default()).unwrap();
    let [listener] = bound.listeners.try_into().unwrap();
    (Door { listener, acceptor: acceptor(mode) }, bound.files)
}

/// Whatever the mode, as PostgreSQL and PgBouncer have it; libpq does not even ask.
#[tokio::test]
async fn there_is_no_tls_on_a_unix_socket_and_none_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let (door, _files) = unix_door(directory.path(), TlsMode::Require);
    let host = directory.path().display();
    let mut psql = Command::new("psql");
    psql.arg(format!("host={host} port=5432 user=alice dbname=d sslmode=require"))
        .args(["-X", "-w", "-c", ";"])
        .env("PGPASSWORD", "secret")
        .kill_on_drop(true);
    let serve = async {
        let (stream, from) = door.listener.accept().await.unwrap();
        assert_eq!(from.to_string(), "local");
        match serve_from(stream, from, &door.acceptor).await {
            Outcome::Session(mut session) => {
                assert!(!session.stream.is_tls());
                let mut query = [0; 1024];
                assert_ne!(session.stream.read(&mut query).await.unwrap(), 0);
                session.stream.write_all(b"I\0\0\0\x04Z\0\0\0\x05I").await.unwrap();
                let _ = session.stream.read(&mut query).await;
            }
            other => panic!("{}", other.kind()),
        }
    };
    let (output, ()) = tokio::join!(psql.output(), serve);
    assert!(output.as_ref().unwrap().status.success(), "{output:?}");

    let path = directory.path().join(".s.PGSQL.5432");
    let ask = async {
        let mut client = Peer(tokio::net::UnixStream::connect(&path).await.unwrap());
        client.send(&ssl_request()).await;
        let mut answer = [0];
        client.0.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"N");
    };
    let refuse = async {
        let (stream, from) = door.listener.accept().await.unwrap();
        serve_from(stream, from, &door.acceptor).await.kind().to_owned()
    };
    assert_eq!(tokio::join!(ask, refuse).1, "closed");
}
