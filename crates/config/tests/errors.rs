//! What is wrong is told all at once, with its line and what to do, and never with a secret.

use std::io;
use std::path::Path;

use config::{Environment, Errors, Place, load, parse};
use proptest::prelude::*;

/// An environment of one secret, under every variable and file that begins with `HAVE`.
struct Secretive(String);

impl Environment for Secretive {
    fn var(&self, name: &str) -> Option<String> {
        name.starts_with("HAVE").then(|| self.0.clone())
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        if path.starts_with("HAVE") {
            Ok(self.0.clone())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

fn fails(text: &str) -> Errors {
    match parse("proxy.toml", text, &Secretive(String::new())) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(errors) => errors,
    }
}

/// The one complaint about `key = value` inside an otherwise right file.
fn complaint(section: &str, line: &str) -> String {
    let mut text = String::from(
        "cluster = { endpoints = ['http://e:1'], scope = 's' }\n\
         users = [{ name = 'a', password = 'b' }]\n",
    );
    if section == "cluster" {
        text = text.replace("scope = 's'", &format!("scope = 's', {line}"));
    } else {
        text.push_str(&format!("[{section}]\n{line}\n"));
    }
    let errors = fails(&text);
    let list: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(list.len(), 1, "{errors}");
    list[0].clone()
}

#[test]
fn everything_is_told_at_once_with_its_line() {
    let errors = fails(
        "[proxy]
port = 70000
prot = 5433
client_login_timeout = 30
listen = ['0.0.0.0', 'localhost']

[proxy.tls]
mode = 'sometimes'
certificate = 'c'

[cluster]
discovery = 'consul'
endpoints = ['etcd-1:2379']

[pool]
mode = 'transactions'
min_size = 99
query_wait_timeout = '2 minutes'

[[users]]
name = 'a'
password = 5

[[users]]
name = 'b'

[[users]]
name = 'a'
password = 'x'
pool_size = 0

[colours]
red = 1
",
    );
    let found: Vec<(Option<usize>, &str)> =
        errors.iter().map(|error| (error.place.line, error.place.path.as_str())).collect();
    let expected = [
        (Some(2), "proxy.port"),
        (Some(3), "proxy.prot"),
        (Some(4), "proxy.client_login_timeout"),
        (Some(5), "proxy.listen"),
        (Some(8), "proxy.tls.mode"),
        (Some(9), "proxy.tls.certificate"),
        (Some(11), "cluster.scope"),
        (Some(12), "cluster.discovery"),
        (Some(13), "cluster.endpoints"),
        (Some(13), "cluster.endpoints"),
        (Some(16), "pool.mode"),
        (Some(17), "pool.min_size"),
        (Some(18), "pool.query_wait_timeout"),
        (Some(22), "users[0].password"),
        (Some(24), "users[1]"),
        (Some(30), "users[2].pool_size"),
        (Some(32), "colours"),
    ];
    assert_eq!(found, expected, "{errors}");
    let text = errors.to_string();
    assert!(text.starts_with("proxy.toml: 17 errors\n  line 2: proxy.port: "), "{text}");
}

#[test]
fn two_users_with_one_name_are_an_error_at_the_second() {
    let errors = fails(
        "cluster = { endpoints = ['http://e:1'], scope = 's' }
[[users]]
name = 'a'
password = 'x'
[[users]]
name = 'a'
password = 'y'
",
    );
    assert_eq!(errors.iter().count(), 1);
    let error = errors.iter().next().unwrap();
    assert_eq!(error.place, Place { line: Some(6), path: "users[1].name".to_owned() });
    assert!(error.problem.contains("line 3"), "{error}");
}

#[test]
fn an_empty_file_says_what_is_missing() {
    let text = fails("").to_string();
    for part in ["cluster.endpoints: missing", "cluster.scope: missing", "users: "] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn unknown_keys_get_the_nearest_name() {
    for (section, line, hint) in [
        ("pool", "sise = 1", "did you mean pool.size?"),
        ("pool", "resrve_timeout = '1s'", "did you mean pool.reserve_timeout?"),
        ("pool", "hold_timeout = '1s'", "did you mean failover.hold_timeout?"),
        ("pool", "default_pool_size = 3", "did you mean pool.size?"),
        ("proxy", "max_client_conn = 3", "did you mean proxy.max_client_connections?"),
        ("proxi", "port = 3", "did you mean proxy?"),
        ("proxy.tsl", "mode = 'prefer'", "did you mean proxy.tls?"),
        ("proxy", "wombat = 3", "docs/configuration.md"),
        ("pool", "server_check_delay = '30s'", "leave it out: idle servers are watched"),
        ("pool", "client_idle_timeuot = '1s'", "did you mean pool.client_idle_timeout?"),
    ] {
        let text = complaint(section, line);
        assert!(text.contains("unknown key") && text.contains(hint), "{text}");
    }
}

#[test]
fn each_error_about_who_may_log_in_says_what_to_do() {
    for (section, line, part) in [
        ("auth", "auth_query = 'SELECT $1'", "did you mean auth.query?"),
        ("auth", "query_user = 'a'\nquery = 'SELECT 1'", "that is where the role's name goes"),
        ("auth", "query_password = 'x'", "needs auth.query_user; set it"),
        ("auth.oauth", "jwks_file = 'k'", "name this service as the issuer does"),
        ("auth.oauth", "audience = 'a'", "set jwks_url or jwks_file"),
        ("auth.oauth", "audience = 'a'\njwks_file = 'k'\njwks_url = 'https://a/'", "keep one"),
        (
            "auth.oauth",
            "audience = 'a'\njwks_file = 'k'\njwks_refresh = '5s'",
            "belongs to jwks_url",
        ),
        (
            "auth.oauth",
            "audience = 'a'\njwks_url = 'https://a/'\njwks_refresh = '0s'",
            "write 1s to 1d",
        ),
        (
            "auth.oauth",
            "audience = 'a'\njwks_url = 'http://a/'",
            "use https, or a host of this machine",
        ),
        ("auth.oauth", "audience = 'a'\njwks_url = 'a'", "not a URL"),
        ("auth.oauth", "audience = 'a'\njwks_file = 'k'\nissuer = 'a'", "give its URL"),
        ("auth.oauth", "audience = 'a'\njwks_file = 'k'\nclock_skew = '1h'", "write 0s to 10m"),
        ("[hba]", "type = 'host'\nmethod = 'password'", "\"password\" is not supported"),
        ("[hba]", "type = 'host'", "method is missing"),
        ("[hba]", "type = 'local'\nmethod = 'peer'\nuser = ['a', '+b']", "set auth.query_user"),
        ("[hba]", "type = 'host'\nmethod = 'cert'", "begin with hostssl"),
        ("[hba]", "type = 'host'\nmethod = 'trust'\noptions = 'x'", "not an option"),
        ("[hba]", "type = 'host'\nmethod = 'trust'\n[auth]\nhba_file = 'f'", "keep one"),
        ("[ident]", "map = 'm'\nsystem_user = 's'", "database_user is missing"),
    ] {
        let text = complaint(section, line);
        assert!(text.contains(part), "{section} {line}: {text}");
    }
}

#[test]
fn each_error_says_what_to_do() {
    for (section, line, part) in [
        ("pool", "size = 0", "`0` is not a whole number from 1 to 1000000"),
        ("pool", "size = '5'", "not a whole number"),
        ("pool", "size = 1.5", "a fraction is not expected here"),
        ("pool", "size = 99999999999999999999999999999999999999999", "too large"),
        ("pool", "state.unaccountable = 'replay'", "`replay` is not one of pin, reject"),
        ("pool", "state.sequences = 'replay'", "`replay` is not one of keep, pin, forget, reject"),
        ("pool", "state.role = 'pin'", "`pin` is not one of replay, reject"),
        ("pool", "mode = 'x'", "`x` is not one of transaction, session, statement"),
        ("pool", "reset_timeout = '0s'", "write 1ms to 365d"),
        ("pool", "reset_timeout = '5'", "such as \"30s\""),
        ("proxy", "port = 9187", "has the port of a listener"),
        ("proxy", "replica_port = 5432", "give each its own"),
        ("proxy", "listen = []", "names no address"),
        ("proxy", "listen = ['::', '::']", "twice"),
        ("proxy", "tls = 5", "an integer where a table is expected"),
        ("proxy.tls", "mode = 'require'", "needs certificate and key"),
        ("proxy.tls", "mode = 'verify-ca'\ncertificate = 'c'\nkey = 'k'", "needs client_ca"),
        ("server.tls", "mode = 'verify-full'", "needs ca"),
        ("server.tls", "key = 'k'", "set certificate"),
        ("server.tls", "sslnegotiation = 'direct'", "set mode to require"),
        (
            "server",
            "channel_binding = 'require'\ntls.mode = 'allow'",
            "set that to require or more",
        ),
        ("proxy.tls", "client_map = 'm'", "is for mode verify-full"),
        ("server.tls", "protocols = ['TLSv1.2', 'TLSv1.1']", "known are TLSv1.2, TLSv1.3"),
        ("proxy.tls", "ciphers = 'HIGH'", "TLS_AES_256_GCM_SHA384"),
        ("proxy.tls", "groups = ['P-256']", "known are x25519, secp256r1, secp384r1"),
        ("proxy.tls", "groups = []", "names none"),
        (
            "proxy.tls",
            "protocols = 'TLSv1.2'\nciphers = 'TLS_AES_256_GCM_SHA384'",
            "no cipher suite of TLSv1.2",
        ),
        ("metrics", "listen = ':9187'", "0.0.0.0:9187"),
        ("proxy", "core_dumps = 'yes'", "`yes` is neither true nor false"),
        ("proxy", "core_dumps = 0", "`0` is neither true nor false"),
        ("log", "level = ''", "is not one of error"),
        ("failover", "hold_timeout = { env = 'NOPE' }", "NOPE is not set"),
        ("failover", "hold_timeout = { file = '/nope' }", "cannot read /nope"),
        ("failover", "hold_timeout = { evn = 'X' }", "{ env = \"NAME\" }"),
        ("failover", "hold_timeout = { env = 'A', file = 'B' }", "{ env = \"NAME\" }"),
        ("cluster", "namespace = '///'", "/service/"),
        ("cluster", "user = 'u'", "needs cluster.password"),
        ("cluster", "group = -1", "whole number from 0"),
        ("cluster", "nodes = ['a:0', 'b']", "[::1]:5432"),
        ("[databases]", "name = 'x'\nmin_size = 3\npool_size = 2", "lower it"),
        ("[databases]", "pool_size = 2", "name is missing"),
        ("peers", "id = 1024", "`1024` is not a whole number from 1 to 1023"),
        ("peers", "addresses = ['pgmesh-2']", "peers.secret: missing"),
        ("peers", "dns = 'tasks.pgmesh'", "give all the same"),
        ("peers", "secret = 'fifteen letters'", "at least 16 bytes"),
        ("peers", "secret = 'sixteen letters.'\naddresses = ['a:1', 'a:1']", "twice"),
        ("peers", "secret = 'sixteen letters.'\naddresses = ['a:0']", "pgmesh-2:5432"),
        ("peers", "secret = 'sixteen letters.'\ndns = 'tasks.pgmesh:5432'", "goes into peers.port"),
    ] {
        let text = complaint(section, line);
        assert!(text.contains(part), "{section} {line}: {text}");
    }
}

#[test]
fn more_peers_than_are_asked_are_refused() {
    let peers = |count| (1..=count).map(|n| format!("'p{n}:1'")).collect::<Vec<_>>().join(", ");
    let text =
        complaint("peers", &format!("secret = 'sixteen letters.'\naddresses = [{}]", peers(16)));
    assert!(text.contains("at most 15"), "{text}");
}

#[test]
fn passwords_that_cannot_work_are_refused() {
    for password in
        ["md5d41d8cd98f00b204e9800998ecf8427e", "SCRAM-SHA-256$broken", "SCRAM-SHA-256$1:a$b:c"]
    {
        let errors = fails(&format!(
            "cluster = {{ endpoints = ['http://e:1'], scope = 's' }}
             users = [{{ name = 'a', password = '{password}' }}]"
        ));
        assert_eq!(errors.iter().count(), 1, "{errors}");
        assert!(!errors.to_string().contains(&password[14..]), "{errors}");
    }
}

#[test]
fn endpoints_are_base_urls_with_a_port_and_without_a_password() {
    for (endpoint, part) in [
        ("http://u:hunter2@e:1", "cluster.user"),
        ("http://e", "the port is missing"),
        ("http://[::1]", "the port is missing"),
        ("http://e:99999", "not a base URL"),
        ("http://e:1/v3", "not a base URL"),
        ("e:1", "not a base URL"),
        ("ftp://e:1", "http or https"),
    ] {
        let errors = fails(&format!(
            "cluster = {{ endpoints = ['{endpoint}'], scope = 's' }}
             users = [{{ name = 'a', password = 'b' }}]"
        ));
        let text = errors.to_string();
        assert!(text.contains(part) && !text.contains("hunter2"), "{endpoint}: {text}");
    }
}

#[test]
fn syntax_errors_have_a_line_and_do_not_quote_the_file() {
    let errors = fails("[proxy]\nport = 5432\n[[users]]\nname = 'a'\npassword = hunter2\n");
    assert_eq!(errors.iter().next().unwrap().place.line, Some(5));
    assert!(!errors.to_string().contains("hunter2"), "{errors}");
    let twice = fails("[proxy]\nport = 1\nport = 2\n");
    assert_eq!(twice.iter().next().unwrap().place.line, Some(3), "{twice}");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_that_names_it() {
    let error = load(Path::new("/nowhere/proxy.toml"), &config::Process).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/proxy.toml: 1 error\n  cannot read it"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.toml");
    std::fs::write(&path, "cluster = { endpoints = ['http://e:1'], scope = 's' }\nusers = [{ name = 'a', password = 'b' }]").unwrap();
    assert!(load(&path, &config::Process).is_ok());
}

/// Every place where a secret may stand, right or wrong.
fn secret_places(secret: &str) -> Vec<String> {
    let quoted = secret.replace('\\', "\\\\").replace('"', "\\\"");
    let user = |line: &str| {
        format!(
            "cluster = {{ endpoints = ['http://e:1'], scope = 's' }}\n[[users]]\nname = 'a'\n{line}"
        )
    };
    let cluster = |line: &str| {
        format!("users = [{{ name = 'a', password = 'b' }}]\n[cluster]\nscope = 's'\n{line}")
    };
    let mut texts = vec![
        user(&format!("password = \"{quoted}\"")),
        user(&format!("password = {secret}")),
        user(&format!("password = \"{quoted}")),
        user(&format!("password = '''{quoted}")),
        user(&format!("password = [\"{quoted}\"]")),
        user(&format!("password = {{ value = \"{quoted}\" }}")),
        user(&format!("pasword = \"{quoted}\"")),
        user(&format!("password = \"SCRAM-SHA-256${quoted}\"")),
        user(&format!("password = 'x'\nserver_password = \"{quoted}\"")),
        cluster(&format!("endpoints = ['http://e:1']\nuser = 'u'\npassword = \"{quoted}\"")),
        cluster(&format!("endpoints = [\"http://u:{quoted}@e:1\"]")),
        user(&format!("password = 'x'\n[peers]\nsecret = \"{quoted}\"")),
        user(&format!("password = 'x'\n[peers]\naddresses = 'a:1'\nsecret = \"{quoted}\"")),
        cluster(&format!("endpoints = \"{quoted}\"")),
        cluster(&format!("discovery = 'static'\nnodes = [\"u:{quoted}@h:1\"]")),
    ];
    // What comes from elsewhere is secret wherever it is put.
    for (section, key) in [
        ("pool", "mode"),
        ("pool", "size"),
        ("pool", "query_wait_timeout"),
        ("proxy", "listen"),
        ("proxy", "port"),
        ("proxy.tls", "mode"),
        ("metrics", "listen"),
        ("log", "level"),
    ] {
        for source in ["{ env = 'HAVE' }", "{ file = 'HAVE' }"] {
            texts.push(user(&format!("password = 'x'\n[{section}]\n{key} = {source}")));
        }
    }
    texts
}

proptest! {
    #[test]
    fn no_secret_is_ever_shown(secret in "[A-Za-z0-9$!#%&*:;@\\\\\"]{12,24}") {
        for text in secret_places(&secret) {
            let shown = match parse("f", &text, &Secretive(secret.clone())) {
                Ok(settings) => format!("{settings:?}"),
                Err(errors) => format!("{errors} {errors:?}"),
            };
            let escaped = format!("{secret:?}");
            prop_assert!(!shown.contains(&secret), "{}", text);
            prop_assert!(!shown.contains(escaped.trim_matches('"')), "{}", text);
        }
    }

    #[test]
    fn any_text_is_survived(text in "(?s).{0,300}") {
        let _ = parse("f", &text, &Secretive(String::new()));
    }

    #[test]
    fn any_values_are_survived(
        section in "(proxy|proxy.tls|cluster|pool|server|users|databases|metrics|log|auth|x)",
        key in "(mode|port|listen|size|name|password|endpoints|nodes|tls|level|y)",
        value in "(true|-1|0x7f|1e9|nan|1979-05-27|\"\"|\"x\"|\\[\\]|\\[\\[1\\], 2\\]|\\{\\}|\\{ env = 1 \\}|'\\[')",
        double in any::<bool>(),
    ) {
        let header = if double { format!("[[{section}]]") } else { format!("[{section}]") };
        let _ = parse("f", &format!("{header}\n{key} = {value}\n"), &Secretive(String::new()));
    }
}
