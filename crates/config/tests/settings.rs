//! What a file means: defaults, overrides, values from elsewhere, one server without a file.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use auth::{BindingPolicy, Password};
use config::{CoreDumps, Environment, Settings, UNENDING, UNLIMITED, parse};
use pool::Lending;
use session::{Asks, Feature, Mode, StateRules, Treatment};
use telemetry::log::{Format, Level};
use transport::{Negotiation, Policy, Protocol, TlsMode};

const MINIMAL: &str = "
[cluster]
endpoints = ['http://etcd-1:2379']
scope = 'demo'
[[users]]
name = 'app'
password = 'secret'
";

/// Variables by name; names that begin with a slash are files.
#[derive(Default)]
struct Fake(HashMap<&'static str, &'static str>);

impl Environment for Fake {
    fn var(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|text| (*text).to_owned())
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        let text = path.to_str().and_then(|path| self.0.get(path));
        text.map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn read(text: &str) -> Settings {
    read_in(text, [])
}

fn read_in<const N: usize>(text: &str, env: [(&'static str, &'static str); N]) -> Settings {
    parse("t", text, &Fake(env.into())).unwrap_or_else(|errors| panic!("{errors}"))
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn what_is_not_said_is_at_its_default() {
    let settings = read(MINIMAL);
    let front = &settings.frontend;
    assert_eq!(front.listen, ["0.0.0.0".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!((front.port, front.replica_port, front.any_port), (5432, None, None));
    assert_eq!((front.login_timeout, front.backlog), (secs(60), 4096));
    assert_eq!(front.unix, None);
    assert_eq!(front.tcp.user_timeout, None);
    assert_eq!(front.tcp.keepalive, Some(transport::Keepalive::default()));
    assert_eq!(settings.max_client_connections, 10_000);
    assert_eq!(settings.core_dumps, CoreDumps::Forbidden);
    let peers = &settings.peers;
    assert!(peers.id.is_none() && peers.names.is_empty() && peers.secret.is_none());
    assert_eq!((peers.resolve_interval, peers.timeout), (secs(5), secs(2)));
    assert_eq!(settings.backend.connect_timeout, secs(5));
    assert_eq!(settings.backend.login_timeout, secs(10));
    assert_eq!(settings.backend.tcp.user_timeout, Some(secs(300)));
    assert_eq!(settings.backend.tls.mode, TlsMode::Prefer);
    assert_eq!(settings.pool.mode, Mode::Transaction);
    assert_eq!(settings.pool.config, pool::Config::default());
    assert_eq!(settings.pool.config.max_pinned(), 24);
    assert_eq!(settings.pool.config.hold_timeout, secs(30));
    assert_eq!(settings.failover.drain_timeout, secs(10));
    assert_eq!(settings.failover.hold, pool::HoldLimits::default());
    assert_eq!(settings.routes, topology::RoutePolicy::default());
    assert_eq!(settings.admin.listen.to_string(), "0.0.0.0:9187");
    assert_eq!((settings.log.format, settings.log.level), (Format::Text, Level::Info));
    let discovery::Config::Etcd(etcd) = &settings.discovery else { panic!("not etcd") };
    assert_eq!((etcd.scope.as_str(), etcd.namespace.as_str()), ("demo", "/service/"));
    assert_eq!((etcd.group, etcd.credentials.is_none()), (None, true));
    assert!(etcd.patroni_fallback.is_empty());
    assert_eq!(etcd.endpoints, ["http://etcd-1:2379"]);
    assert_eq!((etcd.refresh_interval, etcd.request_timeout), (secs(10), secs(3)));
}

#[test]
fn peers_are_addresses_and_a_name_on_our_own_port() {
    let peers = |keys: &str| {
        let text = format!("{MINIMAL}[proxy]\nport = 6432\n[peers]\n{keys}");
        read_in(&text, [("PEERS", "what all of them know")]).peers
    };
    let all = peers(
        "id = 1023\nsecret = { env = 'PEERS' }\naddresses = ['p2', 'p3:7', '[::1]:8']
         dns = 'tasks.pgmesh'\nresolve_interval = '1s'\ntimeout = '300ms'",
    );
    let names: Vec<String> = all.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["p2:5432", "p3:7", "[::1]:8", "tasks.pgmesh:6432"]);
    assert_eq!((all.id, all.resolve_interval), (Some(1023), secs(1)));
    assert_eq!(all.timeout, Duration::from_millis(300));
    assert_eq!(all.secret.unwrap().expose(), "what all of them know");
    let named = peers("secret = { env = 'PEERS' }\ndns = 'tasks.pgmesh'\nport = 9");
    assert_eq!(named.names[0].to_string(), "tasks.pgmesh:9");
    // One that is only asked.
    assert!(peers("secret = { env = 'PEERS' }").secret.is_some());
}

#[test]
fn what_is_said_arrives() {
    let settings = read(
        "
        [proxy]
        listen = ['127.0.0.1', '::1']
        port = 6432
        replica_port = 6433
        any_port = 6434
        max_client_connections = 5
        core_dumps = true
        client_login_timeout = '7s'
        tcp_keepalives_idle = '0s'
        tcp_user_timeout = '8s'
        tls = { mode = 'verify-ca', certificate = 'c', key = 'k', client_ca = 'a' }
        [cluster]
        discovery = 'patroni'
        endpoints = ['http://n1:8008/', 'https://[::1]:8009']
        poll_interval = '250ms'
        tls.ca = 'etcd-ca'
        [server]
        connect_timeout = '9s'
        tcp_keepalives_count = 9
        channel_binding = 'require'
        [pool]
        mode = 'session'
        size = 7
        max_db_connections = 0
        query_wait_timeout = 0
        server_lifetime = '0s'
        server_login_concurrency = 2
        prepared_statements = 11
        max_pinned = 3
        debug_shuffle = true
        strict_state = true
        [[users]]
        name = 'app'
        password = 'p'
        max_connections = 3
        [metrics]
        listen = '[::1]:1'
        [log]
        format = 'json'
        level = 'trace'
        ",
    );
    let front = &settings.frontend;
    assert_eq!(front.endpoints().count(), 6);
    assert_eq!((front.login_timeout, front.tcp.keepalive), (secs(7), None));
    assert_eq!((front.tcp.user_timeout, front.tls.mode), (Some(secs(8)), TlsMode::VerifyCa));
    assert_eq!(front.tls.client_ca.as_deref(), Some(Path::new("a")));
    assert_eq!(settings.max_client_connections, 5);
    assert_eq!(settings.core_dumps, CoreDumps::Allowed);
    assert_eq!(settings.backend.channel_binding, BindingPolicy::Require);
    let discovery::Config::Rest(rest) = &settings.discovery else { panic!("not patroni") };
    assert_eq!(rest.endpoints, ["http://n1:8008", "https://[::1]:8009"]);
    assert_eq!(rest.poll_interval, Duration::from_millis(250));
    assert_eq!(rest.tls.ca.as_deref(), Some(Path::new("etcd-ca")));
    assert_eq!(settings.backend.connect_timeout, secs(9));
    assert_eq!(settings.backend.tcp.keepalive.map(|it| it.count), Some(9));
    let pool = &settings.pool.config;
    assert_eq!((settings.pool.mode, settings.pool.state.asks()), (Mode::Session, Asks::Always));
    assert_eq!((pool.size, pool.max_db_connections), (7, UNLIMITED));
    assert_eq!((pool.query_wait_timeout, pool.server_lifetime), (UNENDING, UNENDING));
    let numbers = (pool.login_concurrency, pool.prepared_statements, pool.max_pinned);
    assert_eq!((numbers, pool.lending), ((2, 11, Some(3)), Lending::LeastRecentlyUsed));
    assert_eq!(settings.users["app"].max_connections, Some(3));
    assert_eq!(settings.admin.listen.to_string(), "[::1]:1");
    assert_eq!((settings.log.format, settings.log.level), (Format::Json, Level::Trace));
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

#[test]
fn what_is_said_of_tls_to_servers_arrives() {
    let settings = read(&MINIMAL.replace(
        "[cluster]",
        "[server.tls]
        mode = 'verify-full'
        sslnegotiation = 'direct'
        ca = 'x'
        protocols = 'TLSv1.3'
        ciphers = ['TLS_AES_128_GCM_SHA256', 'tls_aes_256_gcm_sha384']
        groups = 'prime256v1'
        [cluster]",
    ));
    let front = &settings.frontend;
    let tls = &settings.backend.tls;
    assert_eq!((tls.mode, tls.negotiation), (TlsMode::VerifyFull, Negotiation::Direct));
    let ciphers = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"];
    let ciphers = ciphers.map(|name| name.parse().unwrap()).to_vec();
    let groups = vec!["secp256r1".parse().unwrap()];
    assert_eq!(Ok(&tls.policy), Policy::new(vec![Protocol::Tls13], ciphers, groups).as_ref());
    assert_eq!(front.tls.policy, Policy::default());
}

#[test]
fn what_is_said_of_session_state_arrives() {
    assert_eq!(read(MINIMAL).pool.state, StateRules::default());
    let settings = read(&format!("{MINIMAL}\n[pool]\nstrict_state = true\nstate.role = 'reject'"));
    let rules = StateRules::default().asking(Asks::Always);
    assert_eq!(settings.pool.state, rules.with(Feature::Role, Treatment::Reject));
}

#[test]
fn what_is_said_of_notifications_arrives() {
    let settings = read(&format!(
        "{MINIMAL}
        [notifications]\nmax_connections = 1\nmax_channels = 2\nmax_subscriptions = 3
        max_queue = 4\nmax_queue_size = '5MiB'\nunlisten_delay = '6s'\nidle_timeout = '7s'"
    ));
    let expected = notify::Config {
        max_connections: 1,
        max_channels: 2,
        max_subscriptions: 3,
        max_queue: 4,
        max_queue_size: 5 << 20,
        unlisten_delay: secs(6),
        idle_timeout: secs(7),
    };
    assert_eq!(settings.notifications, expected);
}

#[test]
fn what_is_said_of_failovers_arrives() {
    let text = MINIMAL.replace(
        "[cluster]",
        "[cluster]\nmax_replica_lag = '16MiB'\nreplica_fallback = 'primary'
         patroni_fallback = ['http://n1:8008']",
    );
    let settings = read(&format!(
        "{text}[failover]\nhold_timeout = '1m'\ndrain_timeout = '4s'\nwarm_standby_size = 0
         max_held = 9\nmax_held_bytes = '3MiB'"
    ));
    let pool = &settings.pool.config;
    assert_eq!((pool.hold_timeout, pool.warm_standby_size), (secs(60), 0));
    assert_eq!(settings.failover.drain_timeout, secs(4));
    assert_eq!(settings.failover.hold, pool::HoldLimits { clients: 9, bytes: 3 << 20 });
    assert_eq!(settings.routes.max_replica_lag, Some(16 << 20));
    assert_eq!(settings.routes.replica_fallback, topology::Fallback::Primary);
    let discovery::Config::Etcd(etcd) = &settings.discovery else { panic!("not etcd") };
    assert_eq!(etcd.patroni_fallback, ["http://n1:8008"]);
}

#[test]
fn a_users_setting_goes_before_the_databases_and_that_before_the_pools() {
    let settings = read(&format!(
        "{MINIMAL}
        pool_size = 3
        [[users]]
        name = 'batch'
        password = 'p'
        pool_mode = 'session'
        state.listen = 'pin'
        [[databases]]
        name = 'shop'
        state.listen = 'reject'
        state.settings = 'reject'
        pool_mode = 'statement'
        pool_size = 40
        min_size = 10
        reserve_timeout = '0s'
        max_db_connections = 50
        query_wait_timeout = '1s'
        "
    ));
    let app = settings.pool_for("shop", "app");
    assert_eq!((app.mode, app.config.size), (Mode::Statement, 3));
    assert_eq!(app.config.min_size, 3, "a minimum never exceeds the size");
    assert_eq!(app.config.reserve_size, 0, "without a timeout there is no reserve");
    assert_eq!((app.config.max_db_connections, app.config.query_wait_timeout), (50, secs(1)));
    let batch = settings.pool_for("shop", "batch");
    assert_eq!((batch.mode, batch.config.size, batch.config.min_size), (Mode::Session, 40, 10));
    let of = |pool: &config::Pool| {
        [Feature::Listen, Feature::Settings].map(|feature| pool.state.treatment(feature))
    };
    assert_eq!(of(&app), [Treatment::Reject, Treatment::Reject]);
    assert_eq!(of(&batch), [Treatment::Pin, Treatment::Reject]);
    let other = settings.pool_for("other", "nobody");
    assert_eq!(of(&other), [Treatment::Replay, Treatment::Replay]);
    assert_eq!((other.mode, &other.config), (Mode::Transaction, &pool::Config::default()));
}

#[test]
fn a_limit_in_time_is_off_unless_it_is_set_and_can_be_switched_off_for_some() {
    assert_eq!(read(MINIMAL).pool.timeouts, session::Timeouts::default());
    assert_eq!(read(MINIMAL).shortest_timeout(), None);
    let settings = read(&format!(
        "{MINIMAL}
        query_timeout = '0s'
        [[users]]
        name = 'batch'
        password = 'p'
        idle_transaction_timeout = '2s'
        [[databases]]
        name = 'shop'
        query_timeout = '7s'
        client_idle_timeout = '9s'
        [pool]
        client_idle_timeout = '1h'
        idle_transaction_timeout = '1m'
        query_timeout = '30s'
        transaction_timeout = '5m'
        query_wait_notify = '5s'
        cancel_wait_timeout = '3s'
        "
    ));
    let limits = settings.pool_for("other", "other").timeouts;
    assert_eq!(
        (limits.client_idle, limits.idle_transaction, limits.query, limits.transaction),
        (Some(secs(3600)), Some(secs(60)), Some(secs(30)), Some(secs(300)))
    );
    assert_eq!((limits.wait_notify, limits.cancel_wait), (Some(secs(5)), secs(3)));
    let limits = settings.pool_for("shop", "app").timeouts;
    assert_eq!((limits.client_idle, limits.query), (Some(secs(9)), None));
    let limits = settings.pool_for("shop", "batch").timeouts;
    assert_eq!((limits.idle_transaction, limits.query), (Some(secs(2)), Some(secs(7))));
    assert_eq!(settings.shortest_timeout(), Some(secs(2)));
}

#[test]
fn what_is_said_of_numbers_arrives() {
    let limits = read(MINIMAL).limits;
    let off = config::Limits { failed_login_delay: secs(1), ..config::Limits::default() };
    assert_eq!(limits, off);
    let settings = read(&format!(
        "{MINIMAL}
        max_user_connections = 4
        [[databases]]
        name = 'shop'
        max_db_client_connections = 6
        [proxy]
        max_user_client_connections = 7
        max_db_client_connections = 8
        max_packet_size = '1MiB'
        max_memory = '1GiB'
        logins_per_second_per_address = 1
        logins_per_second_per_user = 2
        transactions_per_second_per_address = 3
        transactions_per_second_per_user = 4
        tls_handshakes_per_second = 5
        failed_login_delay = '0s'
        [pool]
        max_user_connections = 9
        "
    ));
    let said = config::Limits {
        max_user_client_connections: Some(7),
        max_db_client_connections: Some(8),
        max_packet_size: Some(1 << 20),
        max_memory: Some(1 << 30),
        logins_per_second_per_address: 1,
        logins_per_second_per_user: 2,
        transactions_per_second_per_address: 3,
        transactions_per_second_per_user: 4,
        tls_handshakes_per_second: 5,
        failed_login_delay: Duration::ZERO,
    };
    assert_eq!(settings.limits, said);
    assert_eq!(settings.databases["shop"].max_db_client_connections, Some(6));
    assert_eq!(settings.pool_for("shop", "app").config.max_user_connections, Some(4));
    assert_eq!(settings.pool_for("shop", "other").config.max_user_connections, Some(9));
}

#[test]
fn values_come_from_the_environment_and_from_files() {
    let settings = read_in(
        "
        proxy.port = { env = 'PORT' }
        pool = { mode = { env = 'MODE' }, query_wait_timeout = { env = 'WAIT' } }
        [cluster]
        endpoints = { env = 'ETCD' }
        scope = 'demo'
        user = 'root'
        password = { file = '/etcd' }
        [[users]]
        name = { env = 'NAME' }
        password = { file = '/run/p' }
        ",
        [
            ("PORT", "6000"),
            ("MODE", "session"),
            ("WAIT", "5s"),
            ("ETCD", "http://a:1, http://b:2,"),
            ("/etcd", "hush\r\n"),
            ("NAME", "app"),
            ("/run/p", "two\nlines\n"),
        ],
    );
    assert_eq!(settings.frontend.port, 6000);
    assert_eq!(settings.pool.mode, Mode::Session);
    assert_eq!(settings.pool.config.query_wait_timeout, secs(5));
    let discovery::Config::Etcd(etcd) = &settings.discovery else { panic!("not etcd") };
    assert_eq!(etcd.endpoints, ["http://a:1", "http://b:2"]);
    let (user, password) = etcd.credentials.as_ref().unwrap();
    assert_eq!((user.as_str(), password.candidates()[0].expose()), ("root", "hush"));
    assert_eq!(settings.rotation.cluster_password, Some("/etcd".into()));
    assert_eq!(settings.rotation.query_password, None);
    assert_eq!(settings.users["app"].password_file, Some("/run/p".into()));
    assert_eq!(settings.users["app"].server_password_file, None);
    let Password::Plain(password) = &settings.users["app"].password else { panic!("not plain") };
    assert_eq!(password.expose(), "two\nlines", "one line break is the file's, not the password's");
}

#[test]
fn servers_are_logged_in_to_with_the_password_that_is_meant_for_them() {
    let verifier = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$\
                    xyLnXN5OISPcAkzjrmxuuw6FTH0wvmZqRDjXyBMxjRo=:\
                    xyLnXN5OISPcAkzjrmxuuw6FTH0wvmZqRDjXyBMxjRo=";
    let settings = read(&format!(
        "{MINIMAL}
        [[users]]
        name = 'stored'
        password = '{verifier}'
        [[users]]
        name = 'both'
        password = '{verifier}'
        server_password = 'other'
        "
    ));
    let login = |name: &str| match settings.users[name].server_login() {
        Some(auth::Login::Password { password, .. }) => Some(password.expose().to_owned()),
        _ => None,
    };
    assert_eq!(login("app").as_deref(), Some("secret"));
    assert_eq!(login("stored"), None);
    assert_eq!(login("both").as_deref(), Some("other"));
    assert!(matches!(settings.users["stored"].password, Password::Verifier(_)));
    assert_eq!(settings.passwords().count(), 3);
}

#[test]
fn what_is_allowed_and_surprising_is_warned_of() {
    let settings = read(
        "
        [proxy.tls]
        mode = 'allow'
        [cluster]
        discovery = 'static'
        nodes = ['db', '[::1]:5433']
        endpoints = ['http://etcd-1:2379']
        [pool]
        size = 200
        [[users]]
        name = 'app'
        password = 'secret'
        [auth]
        query_user = 'pgmesh'
        ",
    );
    assert_eq!(settings.frontend.tls.mode, TlsMode::Disable);
    let discovery::Config::Fixed(fixed) = &settings.discovery else { panic!("not static") };
    let nodes: Vec<_> = fixed.nodes.iter().map(ToString::to_string).collect();
    assert_eq!(nodes, ["db:5432", "[::1]:5433"]);
    let places: Vec<_> = settings
        .warnings
        .iter()
        .map(|warning| (warning.place.path.as_str(), warning.place.line.unwrap_or(0)))
        .collect();
    let expected = [("proxy.tls.mode", 3), ("cluster.endpoints", 7), ("pool.size", 9)];
    assert_eq!(places, expected);
}

#[test]
fn one_server_needs_no_file() {
    let env = Fake([("PGUSER", "app"), ("PGPASSWORD", "it's \"odd\"\\")].into());
    let settings = Settings::for_single_node("127.0.0.1:5432", &env).unwrap();
    let sockets: Vec<_> = settings.frontend.endpoints().map(|(_, at)| at.to_string()).collect();
    assert_eq!(sockets, ["127.0.0.1:6432"]);
    assert_eq!(settings.admin.listen.to_string(), "127.0.0.1:9187");
    let discovery::Config::Fixed(fixed) = &settings.discovery else { panic!("not static") };
    assert_eq!(fixed.nodes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1:5432"]);
    let Password::Plain(password) = &settings.users["app"].password else { panic!("not plain") };
    assert_eq!(password.expose(), "it's \"odd\"\\");
    assert_eq!(settings.pool.config, pool::Config::default());
    assert_eq!(settings.warnings.len(), 3, "it says what it cannot do");
    let v6 = Settings::for_single_node("[::1]:5433", &env).unwrap();
    assert!(format!("{:?}", v6.discovery).contains("::1"));
}

#[test]
fn one_server_without_credentials_or_address_is_told_everything() {
    let errors = Settings::for_single_node("a:b:c", &Fake::default()).unwrap_err().to_string();
    for part in ["--upstream: 3 errors", "address: ", "PGUSER: ", "PGPASSWORD: "] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    let long: &'static str = "x".repeat(64).leak();
    let env = Fake([("PGUSER", long), ("PGPASSWORD", "p")].into());
    let errors = Settings::for_single_node("db", &env).unwrap_err().to_string();
    assert!(errors.contains("63 bytes") && !errors.contains("line"), "{errors}");
}
