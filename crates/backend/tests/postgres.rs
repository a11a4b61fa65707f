//! Against a real Postgres: every method of login, TLS, cancel, reset and the proof of a role.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use auth::{BindingPolicy, Secret};
use backend::{
    AuthenticationFault, Config, ConnectError, Credentials, Dialer, Kind, Login, Ready,
    RequiredRole, Startup, Target,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use testbed::{Postgres, PostgresOptions, Role, ServerTls, Stop};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transport::{ClientTls, TlsMode};
use wire::{ErrorFields, Header, SqlState};

const LIMIT: Duration = Duration::from_secs(10);

/// A server with TLS for `localhost`, and a role for each way of logging in.
struct Server {
    postgres: Postgres,
    directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.crt"), ca.pem()).unwrap();

        let hba = [
            "host all trust_user 127.0.0.1/32 trust",
            "host all md5_user 127.0.0.1/32 md5",
            "host all clear_user 127.0.0.1/32 password",
            "hostnossl all tls_user 127.0.0.1/32 reject",
            "hostssl all plain_user 127.0.0.1/32 reject",
        ];
        let roles = ["scram_user", "trust_user", "clear_user", "tls_user", "plain_user"];
        let mut roles: Vec<_> = roles.map(|name| Role::new(name, "secret")).into();
        // md5("secret" ‖ "md5_user"), as the server would store it.
        roles.push(Role::new("md5_user", "md539c4422cad2e8aa743c2904bf0925538"));
        let tls =
            ServerTls { certificate: certificate.pem(), key: key.serialize_pem(), client_ca: None };
        let options = PostgresOptions {
            hba: hba.map(str::to_owned).into(),
            tls: Some(tls),
            roles,
            databases: Vec::new(),
            ..PostgresOptions::default()
        };
        Self { postgres: Postgres::start(options).unwrap(), directory }
    }

    fn dialer(&self, mode: TlsMode) -> Dialer {
        self.binding_dialer(mode, BindingPolicy::default())
    }

    fn binding_dialer(&self, mode: TlsMode, channel_binding: BindingPolicy) -> Dialer {
        let ca = mode.verifies().then(|| self.directory.path().join("ca.crt"));
        let tls = ClientTls { mode, ca, ..ClientTls::default() };
        Dialer::new(Config { tls, channel_binding, ..Config::default() }).unwrap()
    }

    fn target(&self, host: &str) -> Target {
        Target::new(host, self.postgres.port())
    }

    async fn connect(&self, mode: TlsMode, login: &Login) -> Result<Ready, ConnectError> {
        self.dialer(mode).connect(&self.target("127.0.0.1"), login).await
    }
}

fn login(user: &str) -> Login {
    Login {
        credentials: Credentials::password(user, Secret::new("secret")),
        startup: Startup::new("postgres"),
        role: RequiredRole::Any,
    }
}

/// Reads one message of the relay's kind from a session.
async fn message(ready: &mut Ready) -> (u8, Vec<u8>) {
    let read = async {
        let mut head = [0; 5];
        ready.stream.read_exact(&mut head).await.unwrap();
        let header = Header::peek(&head).unwrap().unwrap();
        let mut body = vec![0; header.body_len as usize];
        ready.stream.read_exact(&mut body).await.unwrap();
        (header.tag, body)
    };
    tokio::time::timeout(LIMIT, read).await.unwrap()
}

async fn query(ready: &mut Ready, text: &str) {
    let mut out = Vec::new();
    wire::message::put_query(&mut out, text);
    ready.stream.write_all(&out).await.unwrap();
    ready.stream.flush().await.unwrap();
}

/// Whoever asks for the binding and gets in has used it: the other methods are no way in then.
#[tokio::test]
async fn a_login_is_bound_to_tls_as_the_policy_says() {
    let server = Server::start();
    let connect = async |mode, policy, user| {
        let dialer = server.binding_dialer(mode, policy);
        let connected = dialer.connect(&server.target("127.0.0.1"), &login(user)).await;
        connected.map(|ready| ready.scram_keys.is_some())
    };
    for policy in [BindingPolicy::Disable, BindingPolicy::Prefer, BindingPolicy::Require] {
        assert!(connect(TlsMode::Require, policy, "scram_user").await.unwrap(), "{policy:?}");
    }
    for (mode, user, fault) in [
        (TlsMode::Require, "trust_user", auth::Error::Unbound),
        (TlsMode::Require, "clear_user", auth::Error::Unbound),
        (TlsMode::Require, "md5_user", auth::Error::Unbound),
        (TlsMode::Disable, "scram_user", auth::Error::BindingOutsideTls),
    ] {
        let refused = connect(mode, BindingPolicy::Require, user).await.unwrap_err();
        let ConnectError::Authentication(AuthenticationFault::Scram(found)) = &refused else {
            panic!("{user}: {refused}");
        };
        assert_eq!(*found, fault, "{user}");
        assert!(refused.is_definite());
    }
}

#[tokio::test]
async fn every_method_logs_in_where_it_may() {
    let server = Server::start();
    for (user, mode, is_tls) in [
        ("scram_user", TlsMode::Disable, false),
        ("scram_user", TlsMode::Require, true),
        ("md5_user", TlsMode::Disable, false),
        ("md5_user", TlsMode::Require, true),
        ("trust_user", TlsMode::Disable, false),
        ("clear_user", TlsMode::Prefer, true),
        ("clear_user", TlsMode::VerifyCa, true),
        // What pg_hba.conf refuses is tried the other way.
        ("tls_user", TlsMode::Allow, true),
        ("tls_user", TlsMode::Prefer, true),
        ("plain_user", TlsMode::Prefer, false),
        ("plain_user", TlsMode::Allow, false),
    ] {
        let ready = server.connect(mode, &login(user)).await;
        let mut ready = ready.unwrap_or_else(|error| panic!("{user} {mode}: {error}"));
        assert_eq!(ready.stream.is_tls(), is_tls, "{user} {mode}");
        assert_eq!(ready.in_hot_standby, Some(false));
        assert_eq!(ready.parameters.get("application_name"), Some("pgmesh"));
        assert!(ready.version_num() >= Some(140_000));
        backend::run(&mut ready.stream, "DISCARD ALL", LIMIT, |_, _| ()).await.unwrap();
    }
    for (user, mode, kind) in [
        ("clear_user", TlsMode::Disable, Kind::Authentication),
        ("tls_user", TlsMode::Disable, Kind::Refused),
        ("plain_user", TlsMode::Require, Kind::Refused),
        ("nobody", TlsMode::Disable, Kind::Refused),
    ] {
        let error = server.connect(mode, &login(user)).await.unwrap_err();
        assert!(error.kind() == kind && error.is_definite(), "{user} {mode}: {error}");
    }
    let mut wrong = login("scram_user");
    wrong.credentials = Credentials::password("scram_user", Secret::new("wrong"));
    let error = server.connect(TlsMode::Disable, &wrong).await.unwrap_err();
    assert_eq!(error.client_error().state, SqlState::INVALID_PASSWORD);
    let mut nowhere = login("scram_user");
    nowhere.startup = Startup::new("nowhere");
    let error = server.connect(TlsMode::Disable, &nowhere).await.unwrap_err();
    assert_eq!(error.client_error().state, SqlState::INVALID_CATALOG_NAME);
    assert!(error.is_definite());
}

#[tokio::test]
async fn verify_full_takes_the_name_of_the_certificate_only() {
    let server = Server::start();
    let dialer = server.dialer(TlsMode::VerifyFull);
    let login = login("scram_user");
    let ready = dialer.connect(&server.target("localhost"), &login).await.unwrap();
    assert_eq!(ready.stream.tls_version(), Some("TLSv1.3"));
    let error = dialer.connect(&server.target("127.0.0.1"), &login).await.unwrap_err();
    assert!(error.kind() == Kind::Tls && error.is_definite(), "{error}");
}

#[tokio::test]
async fn scram_keys_of_one_login_serve_the_next() {
    let server = Server::start();
    let mut login = login("scram_user");
    let first = server.connect(TlsMode::Disable, &login).await.unwrap();
    login.credentials.login = Some(auth::Login::Keys(first.scram_keys.unwrap()));
    server.connect(TlsMode::Disable, &login).await.unwrap();
}

#[tokio::test]
async fn a_cancel_ends_the_statement_and_never_the_next() {
    let server = Server::start();
    for mode in [TlsMode::Disable, TlsMode::Require] {
        let dialer = server.dialer(mode);
        let target = server.target("127.0.0.1");
        let mut ready = dialer.connect(&target, &login("scram_user")).await.unwrap();
        let cancel = ready.cancel_target().unwrap();
        // A notice is sent at once, and shows that the statement has begun.
        let slow = "DO $$ BEGIN RAISE NOTICE 'begun'; PERFORM pg_sleep(60); END $$";
        query(&mut ready, slow).await;
        assert_eq!(message(&mut ready).await.0, b'N');
        dialer.cancel(&cancel, LIMIT).await.unwrap();
        let state = loop {
            let (tag, body) = message(&mut ready).await;
            if tag == b'E' {
                break ErrorFields::parse(&body).unwrap().code.to_owned();
            }
        };
        assert_eq!(state, SqlState::QUERY_CANCELED.as_str());
        assert_eq!(message(&mut ready).await, (b'Z', b"I".to_vec()));

        for _ in 0..20 {
            dialer.cancel(&cancel, LIMIT).await.unwrap();
            let slept = backend::run(
                &mut ready.stream,
                "DO $$ BEGIN PERFORM pg_sleep(0.01); END $$",
                LIMIT,
                |_, _| (),
            );
            slept.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_reset_leaves_nothing_and_fails_inside_a_transaction() {
    let server = Server::start();
    let mut ready = server.connect(TlsMode::Require, &login("scram_user")).await.unwrap();
    let mut told = Vec::new();
    for sql in ["SET TimeZone = 'Asia/Tokyo'", "DISCARD ALL"] {
        let on_parameter = |name: &str, value: &str| told.push(format!("{name}={value}"));
        backend::run(&mut ready.stream, sql, LIMIT, on_parameter).await.unwrap();
    }
    let original = ready.parameters.get("TimeZone").unwrap();
    assert_eq!(told, ["TimeZone=Asia/Tokyo".to_owned(), format!("TimeZone={original}")]);
    let begun = backend::run(&mut ready.stream, "BEGIN", LIMIT, |_, _| ()).await;
    assert!(begun.is_err(), "the server is not idle");
    backend::terminate(&mut ready.stream, LIMIT).await;
}

#[tokio::test]
async fn a_role_is_proven_at_login() {
    let mut server = Server::start();
    let as_role = |role| Login { role, ..login("scram_user") };
    let (primary, standby) = (as_role(RequiredRole::Primary), as_role(RequiredRole::Standby));
    server.connect(TlsMode::Disable, &primary).await.unwrap();
    let error = server.connect(TlsMode::Disable, &standby).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongRole { in_recovery: false }));

    server.postgres.stop(Stop::Fast).unwrap();
    let error = server.connect(TlsMode::Disable, &primary).await.unwrap_err();
    assert!(error.kind() == Kind::Unreachable && !error.is_definite());
    std::fs::write(server.postgres.data().join("standby.signal"), "").unwrap();
    server.postgres.restart().unwrap();
    server.connect(TlsMode::Disable, &standby).await.unwrap();
    let error = server.connect(TlsMode::Disable, &primary).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongRole { in_recovery: true }));
    assert!(!error.is_definite(), "a failover may change it");
}
