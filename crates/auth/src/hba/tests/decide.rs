//! Which rule counts, and what a client is told.

use wire::SqlState;

use super::super::*;
use super::{World, connection, tls};
use crate::oauth::IssuerError;

const MEMBERS: [(&str, &str); 2] = [("alice", "staff"), ("bob", "sales")];

/// The line of the rule that counts; 0 for none.
fn line(text: &str, connection: &Connection<'_>) -> usize {
    match Rules::parse(text).unwrap().decide(connection, &World::new(&MEMBERS)) {
        Decision::Ask(rule) => rule.line,
        Decision::Refuse(Refusal::Rejected { line } | Refusal::NoCertificate { line }) => line,
        Decision::Refuse(Refusal::NoEntry) => 0,
    }
}

#[test]
fn the_first_rule_that_matches_in_everything_counts() {
    let text = "\
local all all peer
hostssl all alice all cert
host sales +sales 10.0.0.0/8 scram-sha-256
host all all 10.0.0.0/8 reject
host sameuser all samenet trust
host samerole all samehost trust
hostnossl /^temp_ \"all\",carol ::/0 trust
hostgssenc all all all trust
";
    let with_tls = Connection {
        encryption: tls(ClientCertificate::None),
        ..connection("alice", "x", "198.51.100.1")
    };
    let cases = [
        (connection("anybody", "anything", "local"), 1),
        (connection("alice", "x", "198.51.100.1"), 0),
        (with_tls, 2),
        (connection("bob", "sales", "10.1.1.1"), 3),
        (connection("sales", "sales", "10.1.1.1"), 3),
        (connection("alice", "sales", "10.1.1.1"), 4),
        (connection("bob", "other", "::ffff:10.1.1.1"), 4),
        (connection("alice", "alice", "192.0.2.200"), 5),
        (connection("alice", "staff", "192.0.2.200"), 0),
        (connection("alice", "staff", "192.0.2.7"), 6),
        (connection("alice", "staff", "2001:db8::7"), 6),
        (connection("all", "temp_1", "2001:db8::9"), 7),
        (connection("carol", "temp_1", "2001:db8::9"), 7),
        (connection("dave", "temp_1", "2001:db8::9"), 0),
        (connection("carol", "a_temp_1", "2001:db8::9"), 0),
    ];
    for (connection, expected) in cases {
        assert_eq!(line(text, &connection), expected, "{connection:?}");
    }
}

#[test]
fn replication_is_for_no_database_and_no_database_is_replication() {
    let text = "local all all trust\nlocal replication alice peer\n";
    let physical = Purpose::PhysicalReplication;
    let alice = Connection { purpose: physical, ..connection("alice", "alice", "local") };
    let bob = Connection { purpose: physical, ..connection("bob", "replication", "local") };
    assert_eq!((line(text, &alice), line(text, &bob)), (2, 0));
    let named = "local replication all trust\nlocal \"replication\" all peer";
    assert_eq!(line(named, &connection("bob", "replication", "local")), 2);
}

#[test]
fn a_refusal_is_in_postgres_words() {
    let rules = Rules::parse(
        "host rejected all all reject\nhostssl certified all all trust clientcert=verify-ca",
    )
    .unwrap();
    let world = World::new(&[]);
    let told = |connection: &Connection<'_>| match rules.decide(connection, &world) {
        Decision::Ask(rule) => rule.to_string(),
        Decision::Refuse(refusal) => {
            let fatal = refusal.fatal(connection);
            assert_eq!(fatal.state, SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
            fatal.message.into_owned()
        }
    };
    let plain = connection("u", "d", "::ffff:10.1.1.1");
    let encrypted = Connection { encryption: tls(ClientCertificate::None), ..plain };
    let common_name = Some("u");
    let verified = tls(ClientCertificate::Verified { common_name });
    let physical = Purpose::PhysicalReplication;
    let cases = [
        (
            plain,
            "no pg_hba.conf entry for host \"10.1.1.1\", user \"u\", database \"d\", no encryption",
        ),
        (
            encrypted,
            "no pg_hba.conf entry for host \"10.1.1.1\", user \"u\", database \"d\", SSL encryption",
        ),
        (
            connection("u", "d", "local"),
            "no pg_hba.conf entry for host \"[local]\", user \"u\", database \"d\", no encryption",
        ),
        (
            Connection { purpose: physical, ..plain },
            "no pg_hba.conf entry for replication connection from host \"10.1.1.1\", user \"u\", \
             no encryption",
        ),
        (
            Connection { database: "rejected", ..plain },
            "pg_hba.conf rejects connection for host \"10.1.1.1\", user \"u\", database \
             \"rejected\", no encryption",
        ),
        (
            Connection { database: "certified", ..encrypted },
            "connection requires a valid client certificate",
        ),
        (
            Connection { database: "certified", encryption: verified, ..plain },
            "hostssl certified all all trust clientcert=verify-ca",
        ),
    ];
    for (connection, expected) in cases {
        assert_eq!(told(&connection), expected);
    }
}

#[test]
fn the_name_in_a_certificate_is_held_to_the_user() {
    let maps = Maps::parse("m /^(.*)@example$ \\1\nm boss all").unwrap();
    let world = World::new(&[]);
    let check = |rule: &str, user: &str, common_name: Option<&str>| {
        let rules = Rules::parse(rule).unwrap();
        let encryption = tls(ClientCertificate::Verified { common_name });
        let connection = Connection { encryption, ..connection(user, "d", "10.0.0.1") };
        let Decision::Ask(rule) = rules.decide(&connection, &world) else { panic!("{rule}") };
        rule.certificate_names(&connection, &maps, &world)
    };
    let full = "hostssl all all all scram-sha-256 clientcert=verify-full";
    let (cert, mapped) = ("hostssl all all all cert", "hostssl all all all cert map=m");
    for rule in [full, cert] {
        assert_eq!(check(rule, "alice", Some("alice")), Ok(()));
        assert_eq!(check(rule, "alice", Some("Alice")), Err(Mismatch::Different));
        assert_eq!(check(rule, "alice", None), Err(Mismatch::NoName));
        assert_eq!(check(rule, "", Some("")), Err(Mismatch::NoName));
    }
    assert_eq!(check(mapped, "alice", Some("alice@example")), Ok(()));
    assert_eq!(check(mapped, "alice", Some("boss")), Ok(()));
    let no_match = Err(Mismatch::NoMatch("m".to_owned()));
    assert_eq!(check(mapped, "alice", Some("alice")), no_match);
    // Whoever comes without TLS has no certificate, whatever rule is asked.
    let rules = Rules::parse(cert).unwrap();
    let rule = rules.iter().next().unwrap();
    let plain = connection("alice", "d", "10.0.0.1");
    assert_eq!(rule.certificate_names(&plain, &maps, &world), Err(Mismatch::NoName));
    let ca = "hostssl all all all trust clientcert=verify-ca";
    assert_eq!(check(ca, "alice", Some("bob")), Ok(()));
}

#[test]
fn what_the_rules_need_to_know_is_told_beforehand() {
    let rules = |text| Rules::parse(text).unwrap();
    let text = "local all a,\"+b\" trust\nlocal all a,+b reject\nlocal samegroup a trust\n\
                host all all all oauth\nhostssl all all all cert\n\
                hostssl all all all trust clientcert=verify-ca\nhost all all samehost trust";
    let groups = [2, 3].map(|line| LineError { line, fault: Fault::Groups });
    assert_eq!(rules(text).ask_for_groups(), groups);
    let text_of_tokens = "local all all oauth issuer=https://a\nhostnossl all all all oauth\n\
                          host all all all oauth\nhostssl all all all oauth issuer=https://a\n\
                          hostssl all all all oauth issuer=a\nhostssl all all all cert";
    let of_tokens = |configured| {
        let errors = rules(text_of_tokens).without_tokens(configured);
        errors.into_iter().map(|error| (error.line, error.fault)).collect::<Vec<_>>()
    };
    let plain = [(1, Fault::OauthNotTls), (2, Fault::OauthNotTls)];
    let (keys, form) = (Fault::OauthKeys, Fault::OauthIssuerForm(IssuerError));
    let unknown = [(3, keys.clone()), (4, keys.clone()), (5, keys)];
    assert_eq!(of_tokens(TokenIssuer::Unknown), [&plain[..], &unknown[..]].concat());
    let unnamed = [(3, Fault::OauthIssuer), (5, form.clone())];
    assert_eq!(of_tokens(TokenIssuer::Unnamed), [&plain[..], &unnamed[..]].concat());
    assert_eq!(of_tokens(TokenIssuer::Named), [&plain[..], &[(5, form)][..]].concat());
    let wanted = [5, 6].map(|line| LineError { line, fault: Fault::NoClientCa });
    assert_eq!(rules(text).without_certificates(), wanted);
    assert!(rules(text).ask_for_interfaces());
    assert!(!rules("host all all 10.0.0.0/8 trust").ask_for_interfaces());
    let groups = Maps::parse("m a b\nm a +b").unwrap().ask_for_groups();
    assert_eq!(groups, [LineError { line: 2, fault: Fault::Groups }]);
    let maps = Maps::parse("known a b").unwrap();
    let text = "local all a peer map=known\nlocal all b peer\nlocal all all peer map=other";
    let unknown = rules(text).unknown_maps(&maps);
    assert_eq!(unknown, [LineError { line: 3, fault: Fault::UnknownMap("other".to_owned()) }]);
}

#[test]
fn without_rules_everybody_gives_a_password() {
    let rules = Rules::scram_everywhere();
    for peer in ["local", "10.0.0.1", "2001:db8::1"] {
        let Decision::Ask(rule) = rules.decide(&connection("u", "d", peer), &World::new(&[]))
        else {
            panic!("refused");
        };
        assert_eq!(rule.method, Method::ScramSha256);
    }
}

#[test]
fn a_failed_method_is_in_postgres_words() {
    let failed = |method: &str| {
        let rules = Rules::parse(&format!("hostssl all all all {method}")).unwrap();
        let fatal = rules.iter().next().unwrap().method.failed("u");
        format!("{} {}", fatal.state, fatal.message)
    };
    let expected = "28P01 password authentication failed for user \"u\"";
    assert_eq!(failed("md5"), expected);
    let expected = "28000 certificate authentication failed for user \"u\"";
    assert_eq!(failed("cert"), expected);
    let expected = "28000 authentication failed for user \"u\": host rejected";
    assert_eq!(failed("reject"), expected);
}
