//! What a file says of who may log in, and of whom is asked about it.

use std::time::Duration;

use auth::hba::TokenIssuer;
use config::{Cleartext, Process, Settings, parse};
use control::jwks;

const MINIMAL: &str = "
[cluster]
endpoints = ['http://etcd-1:2379']
scope = 'demo'
[[users]]
name = 'app'
password = 'secret'
";

fn read(text: &str) -> Settings {
    parse("t", text, &Process).unwrap_or_else(|errors| panic!("{errors}"))
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn roles_are_looked_up_if_somebody_is_named_who_does_it() {
    assert!(read(MINIMAL).auth_query.is_none());
    let named = format!("{MINIMAL}\n[auth]\nquery_user = 'lookup'\n");
    let default = read(&named).auth_query.unwrap();
    assert_eq!((default.user.as_str(), default.database.as_str()), ("lookup", "postgres"));
    assert_eq!(default.query, control::auth_query::Config::QUERY);
    assert!(default.password.is_none());
    // Then nobody has to be in [[users]], and rules may ask for groups.
    let rule = "[[hba]]\ntype = 'host'\nuser = '+staff'\nmethod = 'scram-sha-256'";
    let (cluster, _) = MINIMAL.split_once("[[users]]").unwrap();
    let alone = read(&format!("{cluster}\n[auth]\nquery_user = 'lookup'\n{rule}"));
    assert!(alone.users.is_empty());
    let set = read(&format!(
        "{named}
        query_password = 'lookup_password'
        query_database = 'app'
        query = 'SELECT * FROM f($1)'
        query_timeout = '3s'
        query_cache_lifetime = '0s'
        query_cache_negative_lifetime = '1s'
        query_cache_stale_lifetime = '1h'
        query_cache_size = 7
        "
    ));
    let set = set.auth_query.unwrap();
    assert_eq!((set.database.as_str(), set.query.as_str()), ("app", "SELECT * FROM f($1)"));
    assert_eq!(set.password.as_ref().unwrap().candidates()[0].expose(), "lookup_password");
    let cache = &set.cache;
    assert_eq!(
        (set.timeout, cache.lifetime, cache.negative_lifetime, cache.stale_lifetime, cache.size),
        (secs(3), secs(0), secs(1), secs(3600), 7)
    );
    assert!(!format!("{set:?}").contains("lookup_password"));
}

#[test]
fn tokens_are_taken_of_somebody_who_is_named() {
    let oauth = |keys: &str| read(&format!("{MINIMAL}\n[auth.oauth]\n{keys}")).access.oauth;
    assert_eq!(read(MINIMAL).access.oauth, None);
    assert_eq!(read(MINIMAL).access.token_issuer(), TokenIssuer::Unknown);
    let least = oauth("audience = 'a'\njwks_file = '/keys'").unwrap();
    assert_eq!(least.keys, jwks::Config::File("/keys".into()));
    assert_eq!((least.claim.as_str(), least.scope.as_str()), ("sub", ""));
    assert_eq!((least.issuer, least.clock_skew), (None, secs(30)));
    let all = oauth(
        "audience = ['a', 'b']
        issuer = 'https://id.example.com/realm'
        scope = 'openid db'
        claim = 'email'
        clock_skew = '0s'
        jwks_url = 'https://id.example.com/keys'
        jwks_ca_file = '/ca'
        jwks_refresh = '1m'
        ",
    );
    let all = all.unwrap();
    let url = "https://id.example.com/keys".parse().unwrap();
    let ca = Some("/ca".into());
    assert_eq!(all.keys, jwks::Config::Url { url, ca, refresh: secs(60) });
    assert_eq!(all.issuer.unwrap().identifier(), "https://id.example.com/realm");
    assert_eq!((all.claim.as_str(), all.scope.as_str()), ("email", "openid db"));
    assert_eq!((all.audience, all.clock_skew), (vec!["a".to_owned(), "b".to_owned()], secs(0)));
}

#[test]
fn ldap_is_asked_so_long_and_passwords_are_shown_where_they_may_be() {
    let default = read(MINIMAL);
    assert_eq!(default.ldap, control::ldap::Config { timeout: secs(5), ca: None });
    assert_eq!(default.access.cleartext, Cleartext::Protected);
    let keys = "[auth]\nldap_timeout = '3s'\nldap_ca = '/ca'\nallow_cleartext_without_tls = true";
    let set = read(&format!("{MINIMAL}\n{keys}\n"));
    assert_eq!(set.ldap, control::ldap::Config { timeout: secs(3), ca: Some("/ca".into()) });
    assert_eq!(set.access.cleartext, Cleartext::Anywhere);
}

/// Rules may let in who is in no list.
#[test]
fn users_may_be_left_out_where_there_are_rules() {
    let cluster = "[cluster]\ndiscovery = 'static'\nnodes = ['h']";
    for rules in ["[auth]\nhba_file = '/f'", "[[hba]]\ntype = 'host'\nmethod = 'reject'"] {
        assert!(read(&format!("{cluster}\n{rules}\n")).users.is_empty());
    }
}
