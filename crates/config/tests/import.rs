//! `pgmesh import`: nothing is lost in silence, and what comes out is a configuration.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::path::Path;

use auth::Secret;
use config::import::{Fate, Imported, Source, Sources, import};
use config::{Environment, Settings, parse};
use proptest::prelude::*;
use session::Mode;

/// Every key of PgBouncer 1.25's `[pgbouncer]`.
const PGBOUNCER: &str = "admin_users application_name_add_host auth_dbname auth_file \
    auth_hba_file auth_ident_file auth_ldap_options auth_query auth_type auth_user \
    autodb_idle_timeout cancel_wait_timeout client_idle_timeout client_login_timeout \
    client_tls13_ciphers client_tls_ca_file client_tls_cert_file client_tls_ciphers \
    client_tls_dheparams client_tls_ecdhcurve client_tls_key_file client_tls_protocols \
    client_tls_sslmode conffile default_pool_size disable_pqexec dns_max_ttl dns_nxdomain_ttl \
    dns_zone_check_period idle_transaction_timeout ignore_startup_parameters job_name listen_addr \
    listen_backlog listen_port log_connections log_disconnections log_pooler_errors log_stats \
    logfile max_client_conn max_db_client_connections max_db_connections max_packet_size \
    max_prepared_statements max_user_client_connections max_user_connections min_pool_size \
    peer_id pidfile pkt_buf pool_mode query_timeout query_wait_notify query_wait_timeout \
    reserve_pool_size reserve_pool_timeout resolv_conf sbuf_loopcnt scram_iterations \
    server_check_delay server_check_query server_connect_timeout server_fast_close \
    server_idle_timeout server_lifetime server_login_retry server_reset_query \
    server_reset_query_always server_round_robin server_tls13_ciphers server_tls_ca_file \
    server_tls_cert_file server_tls_ciphers server_tls_key_file server_tls_protocols \
    server_tls_sslmode service_name so_reuseport stats_period stats_users suspend_timeout syslog \
    syslog_facility syslog_ident tcp_defer_accept tcp_keepalive tcp_keepcnt tcp_keepidle \
    tcp_keepintvl tcp_socket_buffer tcp_user_timeout track_extra_parameters transaction_timeout \
    unix_socket_dir unix_socket_group unix_socket_mode user verbose";

/// And of its `[databases]`.
const DATABASES: &str = "dbname host port user password auth_user auth_dbname auth_query \
    client_encoding datestyle timezone pool_size min_pool_size reserve_pool reserve_pool_size \
    max_db_connections max_db_client_connections server_lifetime load_balance_hosts pool_mode \
    connect_query application_name";

const VERIFIER: &str = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// What is included, and what the result names.
struct Files;

impl Environment for Files {
    fn var(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        match path.to_str() {
            Some("more.ini") => Ok("max_client_conn = 7\n%include more.ini\n".to_owned()),
            Some(path) if path.starts_with("/s/") => Ok("a long enough secret".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn source(name: &str, text: &str) -> Option<Source> {
    (!text.is_empty()).then(|| Source { name: name.to_owned(), text: Secret::new(text) })
}

fn imported(ini: &str, userlist: &str, haproxy: &str) -> Imported {
    let sources = Sources {
        pgbouncer: source("pgbouncer.ini", ini),
        userlist: source("userlist.txt", userlist),
        haproxy: source("haproxy.cfg", haproxy),
        secrets: "/s".into(),
    };
    import(&sources, &Files).unwrap()
}

/// What it means, and how it is written.
fn read(ini: &str, userlist: &str, haproxy: &str) -> (Settings, String) {
    let imported = imported(ini, userlist, haproxy);
    let settings = parse("proxy.toml", &imported.toml, &Files).unwrap();
    (settings, imported.toml)
}

/// What is said of a line.
fn said(imported: &Imported, line: usize) -> Vec<(Fate, String)> {
    let remarks = imported.remarks.iter().filter(|remark| remark.line() == Some(line));
    remarks.map(|remark| (remark.fate, remark.to_string())).collect()
}

fn has(toml: &str, lines: &[&str]) {
    for line in lines {
        let written = |it: &str| it.split(" # ").next() == Some(*line);
        assert!(toml.lines().any(written), "{line} is not in\n{toml}");
    }
}

#[test]
fn every_key_of_pgbouncer_is_said() {
    // What no key takes in earnest, and what most do.
    for value in ["", "0", "1", "5", "x", "/dir", "60.5"] {
        let lines = PGBOUNCER.split_whitespace().map(|key| format!("{key} = {value}\n"));
        let ini = format!("[pgbouncer]\n{}", lines.collect::<String>());
        let imported = imported(&ini, "", "");
        for (at, key) in PGBOUNCER.split_whitespace().enumerate() {
            let said = said(&imported, at + 2);
            assert!(!said.is_empty(), "{key} = {value}");
            for (_, text) in said {
                assert!(text.contains(key), "{text}");
                assert!(!text.contains("no such key"), "{text}");
                let line = format!("line {}: {key} = ", at + 2);
                assert!(imported.toml.contains(&line), "{text}");
            }
        }
    }
}

#[test]
fn every_key_of_a_database_is_said() {
    for key in DATABASES.split_whitespace().filter(|key| !key.contains("host") && *key != "port") {
        let imported = imported(&format!("[databases]\nshop = host=h {key}=3\n"), "", "");
        let about: Vec<_> = said(&imported, 2).into_iter().map(|(_, text)| text).collect();
        assert!(about.iter().any(|text| text.contains(key)), "{key}: {about:?}");
        assert!(!about.iter().any(|text| text.contains("no such key")), "{about:?}");
    }
}

#[test]
fn a_pool_as_many_have_it() {
    let (settings, toml) = read(
        "[databases]\n\
         shop = host=10.0.0.1 port=5433 pool_size=40 min_pool_size=4 pool_mode=session\n\
         other = host=10.0.0.1 port=5433 password=hush1 user=u\n\
         [users]\napp = pool_size=7 max_user_client_connections=3 query_timeout=1.5\n\
         [pgbouncer]\n; a comment\nlisten_addr = *\nlisten_port = 6433\nauth_type = md5\n\
         pool_mode = transaction\ndefault_pool_size = 30\nserver_lifetime = 0\n\
         max_db_connections = 50\nquery_wait_timeout = 90\nunix_socket_dir = /run/p\n\
         unix_socket_mode = 0770\ntcp_user_timeout = 1500\n",
        &format!(
            "\"app\" \"hush2\"\n\"verified\" \"{VERIFIER}\"\n\"old\" \"md5{}\"\n",
            "0".repeat(32)
        ),
        "",
    );
    assert!(!toml.contains("hush") && !toml.contains("SCRAM-SHA-256$"), "{toml}");
    assert_eq!((settings.frontend.port, settings.max_client_connections), (6433, 100));
    assert_eq!((settings.pool.mode, settings.pool.config.size), (Mode::Transaction, 30));
    assert_eq!(settings.databases["shop"].pool_mode, Some(Mode::Session));
    assert_eq!(settings.databases["shop"].pool_size, Some(40));
    assert_eq!(settings.users["app"].max_connections, Some(3));
    assert_eq!(settings.users.len(), 2);
    has(
        &toml,
        &[
            "listen = \"0.0.0.0\"",
            "nodes = \"10.0.0.1:5433\"",
            "max_db_connections = 50",
            "query_wait_timeout = \"1m30s\"",
            "server_lifetime = \"1ms\"",
            "reserve_size = 0",
            "query_wait_notify = \"5s\"",
            "unix_socket_mode = \"0770\"",
            "tcp_user_timeout = \"1s500ms\"",
            "query_timeout = \"1s500ms\"",
            "password = { file = \"/s/user-app\" }",
            "database = [\"shop\", \"other\"]",
            "mode = \"disable\"",
        ],
    );
    assert!(toml.contains("an md5 hash"), "{toml}");
}

#[test]
fn secrets_are_given_apart_from_the_file() {
    let imported = imported("[pgbouncer]\nauth_user = app\n", "\"app\" \"hu\"\"sh\"\n", "");
    let [secret] = &*imported.secrets else { panic!("{:?}", imported.secrets) };
    assert_eq!((&*secret.name, secret.text.expose()), ("user-app", "hu\"sh"));
    has(&imported.toml, &["query_user = \"app\"", "query_password = { file = \"/s/user-app\" }"]);
}

#[test]
fn nothing_is_checked_less_than_before() {
    let (settings, toml) = read(
        "[pgbouncer]\nauth_type = cert\nclient_tls_sslmode = verify-full\n\
         server_tls_sslmode = verify-full\n",
        "\"app\" \"x\"\n",
        "",
    );
    assert_eq!(settings.backend.tls.mode.to_string(), "verify-full");
    assert_eq!(settings.frontend.tls.mode.to_string(), "verify-ca");
    has(
        &toml,
        &["method = \"cert\"", "type = \"hostssl\"", "client_ca = \"/etc/pgmesh/client_ca.crt\""],
    );
    // Without the list of whom PgBouncer trusts, nobody is.
    let (_, toml) = read("[pgbouncer]\nauth_type = trust\n", "", "");
    assert!(!toml.contains("method = "), "{toml}");
    let (_, toml) = read("[pgbouncer]\nauth_type = trust\n", "\"a\" \"\"\n\"b\" \"x\"\n", "");
    has(&toml, &["method = \"trust\"", "user = [\"a\", \"b\"]"]);
    let imported =
        imported("[pgbouncer]\nauth_type = any\nclient_tls_sslmode = nonsense\n", "", "");
    assert!(said(&imported, 2).iter().all(|(fate, _)| *fate == Fate::Open));
    has(&imported.toml, &["mode = \"verify-ca\""]);
}

#[test]
fn no_limit_is_one_that_a_start_can_reckon_with() {
    for (ini, limit) in
        [("", 100), ("max_db_connections = 0\n", 100), ("default_pool_size = 300", 300)]
    {
        let (settings, toml) = read(&format!("[pgbouncer]\n{ini}\n"), "", "");
        assert_eq!(settings.pool.config.max_db_connections, limit, "{toml}");
    }
}

#[test]
fn the_console_stays_open_where_databases_are_listed() {
    let ini = "[databases]\na =\nb = dbname=c\n[pgbouncer]\nadmin_users = x, y\n";
    let (_, toml) = read(ini, "\"x\" \"y\"\n", "");
    let list = "database = [\"a\", \"c\", \"pgmesh\", \"pgbouncer\"]";
    has(&toml, &[list, "users = [\"x\", \"y\"]"]);
}

#[test]
fn what_a_file_includes_is_read_and_the_last_counts() {
    let (settings, _) = read("[pgbouncer]\nmax_client_conn = 5\n%include more.ini\n", "", "");
    assert_eq!(settings.max_client_connections, 7);
    let imported = imported("%include none.ini\n", "", "");
    assert!(said(&imported, 1).iter().any(|(fate, _)| *fate == Fate::Open));
}

#[test]
fn a_value_that_would_be_refused_is_left_out_and_said() {
    let imported = imported("[pgbouncer]\ndefault_pool_size = 5\nmin_pool_size = 9\n", "", "");
    let said = said(&imported, 3);
    assert!(matches!(&*said, [(Fate::Open, text)] if text.contains("left out")), "{said:?}");
}

const PATRONI: &str = "global\n maxconn 300\ndefaults\n mode tcp\n timeout client 30m\n \
    timeout connect 4s\n timeout check 5000\nlisten stats\n mode http\n bind *:7000\n stats enable\n \
    stats auth admin:hush\nlisten primary\n bind *:5000\n option httpchk OPTIONS /primary\n \
    default-server inter 3s fall 3\n server a 10.0.0.1:5432 maxconn 100 check port 8008\n \
    server b 10.0.0.2:5432 check port 8008\nlisten replicas\n bind *:5001\n \
    option httpchk OPTIONS /replica?lag=16MB\n server a 10.0.0.1:5432 check port 8008\n \
    server b 10.0.0.2:5432 check port 8008\nfrontend web\n mode http\n bind *:80\n";

#[test]
fn haproxy_before_patroni() {
    let (settings, toml) = read("", "", PATRONI);
    assert_eq!((settings.frontend.port, settings.frontend.replica_port), (5000, Some(5001)));
    assert_eq!(settings.max_client_connections, 300);
    assert_eq!(settings.admin.listen.port(), 7000);
    has(
        &toml,
        &[
            "discovery = \"patroni\"",
            "endpoints = [\"http://10.0.0.1:8008\", \"http://10.0.0.2:8008\"]",
            "max_replica_lag = \"16MiB\"",
            "connect_timeout = \"4s\"",
            "client_idle_timeout = \"30m\"",
            "request_timeout = \"5s\"",
        ],
    );
    assert!(!toml.contains("hush"), "{toml}");
    let imported = imported("", "", PATRONI);
    let sections = ["global", "defaults", "listen", "frontend"];
    for (at, line) in PATRONI.lines().enumerate() {
        let is_head = sections.iter().any(|it| line.starts_with(it));
        assert!(is_head || !said(&imported, at + 1).is_empty(), "{line}");
    }
}

#[test]
fn clients_keep_the_port_that_they_connect_to() {
    // PgBouncer before HAProxy.
    let ini = "[databases]\n* = host=127.0.0.1 port=5000\n[pgbouncer]\nlisten_port = 6432\n";
    let (settings, toml) = read(ini, "", PATRONI);
    assert_eq!((settings.frontend.port, settings.frontend.replica_port), (6432, Some(5001)));
    has(&toml, &["discovery = \"patroni\"", "max_client_connections = 100"]);
    assert!(!toml.lines().any(|line| line.starts_with("client_idle_timeout")), "{toml}");
    // HAProxy before a PgBouncer on each node.
    let haproxy =
        PATRONI.replace(":5432", ":6432").replace("/primary", "/").replace(" check port 8008", "");
    let haproxy = haproxy
        .replace(" option httpchk OPTIONS /\n", "")
        .replace("option httpchk", "no option httpchk");
    let ini = "[databases]\n* = host=127.0.0.1 port=5499\n[pgbouncer]\nlisten_port = 6432\n";
    let (settings, toml) = read(ini, "", &haproxy);
    assert_eq!(settings.frontend.port, 5000, "{toml}");
    has(&toml, &["nodes = [\"10.0.0.1:5499\", \"10.0.0.2:5499\"]"]);
}

#[test]
fn nothing_at_all_is_a_configuration_too() {
    let imported = imported("", "", "");
    assert!(imported.count(Fate::Open) >= 2, "{imported}");
    assert!(imported.to_string().contains("[[users]]"), "{imported}");
}

/// Lines that have some sense, and some that have none.
fn lines() -> impl Strategy<Value = String> {
    let keys: Vec<&str> =
        PGBOUNCER.split_whitespace().chain(DATABASES.split_whitespace()).collect();
    let word = "(0|1|-1|2147483647|4294967296|1e300|nan|0x7f|all|\\*|host|trust|cert|ldap|hba|any|\
        session|verify-full|require|disable|/a|@a|'|''|\"|=|a=b|host=a|dbname='b'|pool_size=0|\\[::\\]:1|\
        :5000|h:1|a,b|tlsv1.2|auto|\\$1|[^\\n]{0,12})";
    let first = prop_oneof![
        proptest::sample::select(keys).prop_map(str::to_owned),
        "(\\[databases\\]|\\[pgbouncer\\]|\\[users\\]|\\[peers\\]|%include|listen|bind|server|defaults|\
          frontend|backend|mode|option|timeout|maxconn|default_backend|stats|default-server|http-check|\
          global|\"a\"|[a-z*]{1,3}|[^\\n]{0,6})",
    ];
    let line = (first, "(=| = | )", proptest::collection::vec(word, 0..5))
        .prop_map(|(first, between, words)| format!("{first}{between}{}", words.join(" ")));
    proptest::collection::vec(line, 0..30).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn any_files_make_a_configuration(ini in lines(), userlist in lines(), haproxy in lines()) {
        let imported = imported(&ini, &userlist, &haproxy);
        let read = parse("proxy.toml", &imported.toml, &Files);
        prop_assert!(read.is_ok(), "{:?}\n{}", read.err(), imported.toml);
    }

    #[test]
    fn any_text_makes_a_configuration(text in "(?s).{0,300}") {
        let ini = format!("[databases]\n{text}\n[pgbouncer]\n{text}");
        let imported = imported(&ini, &text, &format!("listen a\n{text}"));
        prop_assert!(parse("proxy.toml", &imported.toml, &Files).is_ok());
    }

    #[test]
    fn no_password_is_shown(secret in "[A-Za-z0-9]{12,24}") {
        let ini = format!(
            "[databases]\nd = host=h password={secret} user=u\ne = password='{secret}'\nf = password {secret}\n\
             [pgbouncer]\nauth_type = ldap\nauth_ldap_options = ldapserver=a ldapbindpasswd={secret}\n"
        );
        let haproxy = format!("listen a\n mode http\n bind *:1\n stats enable\n stats auth u:{secret}\n");
        let imported = imported(&ini, &format!("\"a\" \"{secret}\"\n\"b\" {secret}\n"), &haproxy);
        prop_assert!(!imported.toml.contains(&secret), "{}", imported.toml);
        prop_assert!(!imported.to_string().contains(&secret));
        let debug = format!("{imported:?}");
        prop_assert!(!debug.contains(&secret), "{}", debug);
    }
}
