//! What has changed between two files, and what was set over one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::path::Path;

use config::{Environment, Overrides, Settings, Values, diff, parse, parse_over};

/// Where every variable and file says the same.
struct Saying(&'static str);

impl Environment for Saying {
    fn var(&self, _: &str) -> Option<String> {
        Some(self.0.to_owned())
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.to_owned())
    }
}

const BASE: &str = "[cluster]\ndiscovery = 'static'\nnodes = ['127.0.0.1']\n";
const USER: &str = "[[users]]\nname = 'a'\npassword = 'first'\n";

fn read(text: &str) -> Settings {
    parse("proxy.toml", &format!("{BASE}{text}"), &Saying("7")).unwrap()
}

fn changes(old: &str, new: &str) -> Vec<String> {
    shown(&read(old).values, &read(new).values)
}

fn shown(old: &Values, new: &Values) -> Vec<String> {
    diff(old, new).iter().map(|change| format!("{change}; {}", change.reload)).collect()
}

#[test]
fn each_change_is_told_with_its_line_and_its_time() {
    let old = format!("{USER}pool_size = 3\n[pool]\nsize = 9\n[proxy]\nport = 6000\n");
    let new = format!(
        "{USER}pool_size = 4\n[pool]\nmode = 'session'\n[proxy]\nport = 6001\nlisten = \
         ['::1', '127.0.0.1']\n"
    );
    assert_eq!(
        changes(&old, &new),
        [
            "pool.mode = session (line 9), was transaction; new connections",
            "pool.size = 25, was 9; now",
            "proxy.listen = ::1, 127.0.0.1 (line 12), was 0.0.0.0; restart",
            "proxy.port = 6001 (line 11), was 6000; restart",
            "users.a.pool_size = 4 (line 7), was 3; now",
        ]
    );
    assert_eq!(changes(&new, &new), [""; 0]);
    assert_eq!(changes(USER, &format!("{USER}[pool]\nsize = 25\n")), [""; 0], "its default");
}

#[test]
fn tables_come_and_go_as_one() {
    let second = "[[users]]\nname = 'b.c'\npassword = 'x'\npool_size = 3\n";
    let both = format!("{USER}{second}");
    assert_eq!(changes(USER, &both), ["users.b.c (line 8) is new; now"]);
    assert_eq!(changes(&both, USER), ["users.b.c has gone; now"]);
    let moved = format!("{second}{USER}");
    assert_eq!(changes(&both, &moved), [""; 0], "their order means nothing");
    let rule = |method: &str| format!("[[hba]]\ntype = 'local'\nmethod = '{method}'\n");
    let rules = format!("{USER}{}{}", rule("peer"), rule("reject"));
    assert_eq!(
        changes(&format!("{USER}{}", rule("reject")), &rules),
        ["hba (line 9) has changed; new connections"]
    );
}

#[test]
fn no_secret_is_shown() {
    let user = |password: &str| format!("[[users]]\nname = 'a'\npassword = {password}\n");
    let expected = ["users.a.password (line 6) has changed; now"];
    assert_eq!(changes(&user("'first'"), &user("'second'")), expected);
    assert_eq!(changes(&user("'first'"), &user("{ env = 'X' }")), expected);
    let settings = read(&format!("{}server_password = 'hidden'\n", user("'hidden'")));
    assert!(!format!("{:?}", settings.values).contains("hidden"));
    assert!(!format!("{:?}", settings.values.rows()).contains("hidden"));
    // What comes from elsewhere may be one.
    let size = |value: &str| format!("{USER}[pool]\nsize = {value}\n");
    assert_eq!(
        changes(&size("9"), &size("{ env = 'SIZE' }")),
        ["pool.size (line 8) has changed; now"]
    );
    let ldap = |secret: &str| {
        format!(
            "[[hba]]\ntype = 'host'\nmethod = 'ldap'\noptions = ['ldapserver=x', \
             'ldapbasedn=y', 'ldapbinddn=z', 'ldapbindpasswd={secret}']\n"
        )
    };
    assert!(!format!("{:?}", read(&ldap("hidden")).values.rows()).contains("hidden"));
}

#[test]
fn what_is_in_a_followed_file_is_no_change_of_the_file() {
    let text = format!("{BASE}[[users]]\nname = 'a'\npassword = {{ file = '/p' }}\n");
    let read = |says| parse("proxy.toml", &text, &Saying(says)).unwrap().values;
    assert_eq!(shown(&read("first"), &read("second")), [""; 0]);
    let text = format!("{text}[peers]\nsecret = {{ file = '/p' }}\naddresses = ['p:1']\n");
    let read = |says| parse("proxy.toml", &text, &Saying(says)).unwrap().values;
    let expected = ["peers.secret (line 8) has changed; restart"];
    assert_eq!(shown(&read("first secret of peers"), &read("second secret of peers")), expected);
}

#[test]
fn what_was_set_counts_more_than_the_file() {
    let text = format!("{BASE}{USER}pool_size = 3\n[pool]\nsize = 9\n");
    let with = |set: &[(&str, &str)]| {
        let mut over = Overrides::default();
        set.iter().for_each(|(name, value)| drop(over.set(name, value).unwrap()));
        parse_over("proxy.toml", &text, &Saying("7"), &over)
    };
    let base = with(&[]).unwrap();
    let set = with(&[
        ("default_pool_size", "40"),
        ("users.a.pool_size", "5"),
        ("query_wait_timeout", "7"),
        ("pool.mode", "session"),
        ("log.level", "debug"),
    ]);
    let set = set.unwrap();
    assert_eq!(set.pool_for("d", "b").config.size, 40);
    assert_eq!(set.pool_for("d", "a").config.size, 5);
    assert_eq!(set.pool.config.query_wait_timeout.as_secs(), 7);
    assert_eq!(
        shown(&base.values, &set.values),
        [
            "log.level = debug, was info; now",
            "pool.mode = session, was transaction; new connections",
            "pool.query_wait_timeout = 7s, was 2m; now",
            "pool.size = 40, was 9; now",
            "users.a.pool_size = 5, was 3; now",
        ]
    );
    for (name, value, part) in [
        ("pool.size", "-1", "pool.size: the value is not a whole number"),
        ("pool.mode", "x", "not one of transaction"),
        ("users.nobody.pool_size", "3", "users.nobody.pool_size: was set, and there is no such"),
        ("pool.query_timeout", "3", "is not a duration"),
    ] {
        let error = with(&[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
}

#[test]
fn rows_have_every_key_that_is_no_secret() {
    let rows = read(&format!("{USER}pool_size = 3\n[pool]\nsize = 9\n")).values.rows();
    let of = |path: &str| rows.iter().find(|row| row.path == path);
    let size = of("pool.size").unwrap();
    assert_eq!((size.value.as_deref(), size.default.as_deref()), (Some("9"), Some("25")));
    let level = of("log.level").unwrap();
    assert_eq!((level.value.as_deref(), level.default.as_deref()), (Some("info"), Some("info")));
    assert_eq!(of("users.a.pool_size").unwrap().value.as_deref(), Some("3"));
    assert!(of("users.a.password").is_none() && of("cluster.password").is_none());
    assert!(rows.is_sorted());
}

#[test]
fn what_needs_a_restart_waits_and_is_told_until_then() {
    let started = read(&format!("{USER}[proxy]\nport = 6000\n")).values;
    let written = read(&format!("{USER}[proxy]\nport = 6001\n[pool]\nsize = 9\n")).values;
    let told =
        |values: &Values| values.waiting().iter().map(ToString::to_string).collect::<Vec<_>>();
    let first = started.changed_to(&written);
    assert_eq!(shown(&started, &first), ["pool.size = 9 (line 10), was 25; now"]);
    assert_eq!(told(&first), ["proxy.port = 6001 (line 8), was 6000"]);
    let again = started.changed_to(&written);
    assert_eq!(shown(&first, &again), [""; 0]);
    assert_eq!(told(&again), told(&first));
    let back = started.changed_to(&started);
    assert_eq!((shown(&again, &back).len(), told(&back).len()), (1, 0));
}
