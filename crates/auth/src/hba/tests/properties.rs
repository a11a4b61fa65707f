//! What holds for any text, any rule and any client.

use core::net::{IpAddr, Ipv4Addr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::*;
use super::{World, connection, tls};

/// Anything that a name can be in a file: no NUL, no line break.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,5}",
        Just("all".to_owned()),
        Just("samerole".to_owned()),
        "[^\0\n/][^\0\n]{0,6}",
        "[+@\"\\\\# ,=\r]{0,4}",
    ]
}

fn pattern() -> impl Strategy<Value = Pattern> {
    "(\\^)?[a-z,# \"]{0,4}(\\(\\.\\*\\))?[$\\\\]?"
        .prop_filter_map("no regular expression", |text| Pattern::new(&text).ok())
}

fn database() -> impl Strategy<Value = Database> {
    prop_oneof![
        Just(Database::All),
        Just(Database::SameUser),
        Just(Database::SameRole),
        Just(Database::Replication),
        pattern().prop_map(Database::Pattern),
        name().prop_map(Database::Name),
    ]
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        Just(Role::All),
        name().prop_map(Role::Group),
        pattern().prop_map(Role::Pattern),
        name().prop_map(Role::Name),
    ]
}

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![
        Just(Address::All),
        Just(Address::SameHost),
        Just(Address::SameNet),
        (any::<[u8; 4]>(), 0..=32u8)
            .prop_map(|(address, length)| network(Network::new(address.into(), length))),
        (any::<[u8; 16]>(), 0..=128u8)
            .prop_map(|(address, length)| network(Network::new(address.into(), length))),
        any::<([u8; 4], [u8; 4])>()
            .prop_map(|(address, mask)| network(Network::with_mask(address.into(), mask.into()))),
    ]
}

fn network(network: Option<Network>) -> Address {
    Address::Network(network.unwrap())
}

fn ldap() -> impl Strategy<Value = Ldap> {
    let value = || name().prop_filter("empty is none", |value| !value.is_empty());
    let search =
        prop_oneof![value().prop_map(LdapSearch::Attribute), value().prop_map(LdapSearch::Filter)];
    let scope = prop::sample::select(vec![LdapScope::Base, LdapScope::One, LdapScope::Subtree]);
    let bind = prop_oneof![
        (value(), name()).prop_map(|(prefix, suffix)| LdapBind::Simple { prefix, suffix }),
        (value(), scope, name(), search).prop_map(|(base_dn, scope, bind_dn, search)| {
            LdapBind::Search { base_dn, scope, bind_dn, bind_password: None, search }
        }),
    ];
    let security =
        prop::sample::select(vec![LdapSecurity::None, LdapSecurity::StartTls, LdapSecurity::Tls]);
    // As a URL can have it, which all but one scope are written in.
    let server = prop_oneof!["[a-z][a-z0-9.-]{0,8}", "[0-9a-f:]{2,9}"];
    (server, option::of(1..u16::MAX), security, bind)
        .prop_map(|(server, port, security, bind)| Ldap { server, port, security, bind })
}

fn method() -> impl Strategy<Value = Method> {
    let value = || option::of(name().prop_filter("empty is none", |value| !value.is_empty()));
    prop_oneof![
        Just(Method::Trust),
        Just(Method::Reject),
        Just(Method::ScramSha256),
        value().prop_map(|map| Method::Cert { map }),
        value().prop_map(|map| Method::Peer { map }),
        ldap().prop_map(|ldap| Method::Ldap(Box::new(ldap))),
        (value(), value(), value())
            .prop_map(|(issuer, scope, map)| Method::Oauth(Box::new(Oauth { issuer, scope, map }))),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let kind = prop::sample::select(vec![
        HostKind::Any,
        HostKind::Ssl,
        HostKind::NoSsl,
        HostKind::GssEnc,
        HostKind::NoGssEnc,
    ]);
    let check = prop::sample::select(vec![
        CertificateCheck::None,
        CertificateCheck::VerifyCa,
        CertificateCheck::VerifyFull,
    ]);
    let lists = (vec(database(), 1..4), vec(role(), 1..4));
    (lists, kind, address(), method(), check).prop_map(|(lists, kind, address, method, check)| {
        let (databases, roles) = lists;
        // Only what goes together can be written.
        let (origin, certificate) = match (&method, kind) {
            (Method::Peer { .. }, _) => (Origin::Local, CertificateCheck::None),
            (Method::Cert { .. }, _) => {
                (Origin::Host(HostKind::Ssl, address), CertificateCheck::VerifyFull)
            }
            (_, HostKind::Ssl) => (Origin::Host(kind, address), check),
            (_, kind) => (Origin::Host(kind, address), CertificateCheck::None),
        };
        Rule { line: 1, origin, databases, roles, method, certificate }
    })
}

fn map_line() -> impl Strategy<Value = MapLine> {
    let system_user =
        prop_oneof![name().prop_map(SystemUser::Name), pattern().prop_map(SystemUser::Pattern)];
    (name(), system_user, role()).prop_map(|(map, system_user, database_user)| MapLine {
        line: 1,
        map,
        system_user,
        database_user,
    })
}

/// Bytes that are often nearly a file.
fn file() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "local",
        "host",
        "hostssl",
        "all",
        "sameuser",
        "+a",
        "/b",
        "\"c\"",
        "10.0.0.0/8",
        "::1",
        "255.0.0.0",
        "md5",
        "cert",
        "ldap",
        "map=x",
        "clientcert=verify-ca",
        "#",
        ",",
        "\\",
        "\n",
        "\"",
        "\r",
        "@x",
        "include",
        "ldapserver=a",
        "ldapurl=ldap://a:1/b?c?one",
        "ldapbasedn=b",
        "é",
        "(",
        "\\1",
        "/(.*)",
    ]);
    let words = vec((word, prop::sample::select(vec!["", " ", "\t", "\n"])), 0..40);
    let near =
        words.prop_map(|words| words.into_iter().flat_map(|(a, b)| [a, b]).collect::<String>());
    prop_oneof![".{0,200}", "(?s).{0,100}", near]
}

// === A simple reference ===

/// Parts of rules as they are written, from a small world: two databases, two roles, one of which
/// is a member of the other.
#[derive(Debug, Clone)]
struct Written {
    kind: &'static str,
    database: &'static str,
    user: &'static str,
    /// The first byte of an IPv4 address, and how many of its bits count.
    network: (u8, u8),
    method: &'static str,
}

fn written() -> impl Strategy<Value = Written> {
    let of = |words: &[&'static str]| prop::sample::select(words.to_vec());
    (
        of(&["local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"]),
        of(&["all", "a", "b", "sameuser", "samerole", "replication", "/^a", "\"all\""]),
        of(&["all", "a", "b", "+a", "+b", "/b$", "\"+a\""]),
        (any::<u8>(), 0..=8u8),
        of(&["trust", "reject", "scram-sha-256"]),
    )
        .prop_map(|(kind, database, user, network, method)| Written {
            kind,
            database,
            user,
            network,
            method,
        })
}

/// `a` is a member of `b`.
const MEMBERS: [(&str, &str); 1] = [("a", "b")];

impl Written {
    fn line(&self) -> String {
        let Self { kind, database, user, network: (first, length), method } = self;
        match *kind {
            "local" => format!("local {database} {user} {method}\n"),
            kind => format!("{kind} {database} {user} {first}.0.0.0/{length} {method}\n"),
        }
    }

    fn matches(&self, user: &str, database: &str, peer: Option<u8>, has_tls: bool) -> bool {
        let is_in = |role: &str, group: &str| role == group || (role, group) == ("a", "b");
        let by_kind = match (self.kind, peer) {
            ("local", peer) => peer.is_none(),
            (_, None) | ("hostgssenc", _) => false,
            ("hostssl", _) => has_tls,
            ("hostnossl", _) => !has_tls,
            _ => true,
        };
        let by_database = match self.database {
            "all" => true,
            "sameuser" => user == database,
            "samerole" => is_in(user, database),
            "replication" => false,
            "\"all\"" => database == "all",
            "/^a" => database.starts_with('a'),
            name => name == database,
        };
        let by_user = match self.user {
            "all" => true,
            "+a" => is_in(user, "a"),
            "+b" => is_in(user, "b"),
            "/b$" => user.ends_with('b'),
            "\"+a\"" => user == "+a",
            name => name == user,
        };
        let (first, length) = self.network;
        let by_network = peer.is_none_or(|peer| {
            (0..length).all(|bit| peer & (0x80 >> bit) == first & (0x80 >> bit))
        });
        by_kind && by_database && by_user && by_network
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in file()) {
        let (rules, maps) = (Rules::parse(&text), Maps::parse(&text));
        let world = World::new(&MEMBERS);
        if let (Ok(rules), Ok(maps)) = (&rules, &maps) {
            let _ = rules.unknown_maps(maps);
        }
        if let Ok(rules) = rules {
            let _ = rules.decide(&connection("a", "b", "10.0.0.1"), &world);
        }
        if let Ok(maps) = maps {
            let _ = maps.admit(Some("a"), "b", "c", &world);
        }
    }

    #[test]
    fn a_printed_rule_reads_as_the_same(rule in rule()) {
        let printed = rule.to_string();
        let rules = Rules::parse(&printed);
        prop_assert_eq!(rules.map(|it| it.iter().cloned().collect()), Ok(vec![rule]), "{}", printed);
    }

    #[test]
    fn a_printed_map_line_reads_as_the_same(line in map_line()) {
        let printed = line.to_string();
        let maps = match Maps::parse(&printed) {
            // A `\1` that the pattern has no group for.
            Err(errors) if matches!(errors[0].fault, Fault::NoGroup(_)) => return Ok(()),
            maps => maps,
        };
        prop_assert_eq!(maps.map(|it| it.iter().cloned().collect()), Ok(vec![line]), "{}", printed);
    }

    #[test]
    fn matching_agrees_with_the_reference(
        written in vec(written(), 1..6),
        user in prop::sample::select(vec!["a", "b", "+a", "ab"]),
        database in prop::sample::select(vec!["a", "b", "all", "replication"]),
        peer in option::of(any::<u8>()),
        has_tls: bool,
    ) {
        let text: String = written.iter().map(Written::line).collect();
        let rules = Rules::parse(&text).unwrap();
        let mut client = connection(user, database, "local");
        if let Some(first) = peer {
            client.peer = Peer::Host(IpAddr::V4(Ipv4Addr::new(first, 1, 2, 3)));
        }
        if has_tls {
            client.encryption = tls(ClientCertificate::None);
        }
        let expected =
            written.iter().position(|rule| rule.matches(user, database, peer, has_tls));
        let decided = match rules.decide(&client, &World::new(&MEMBERS)) {
            Decision::Refuse(Refusal::NoEntry) => None,
            Decision::Refuse(Refusal::Rejected { line }) => Some((line - 1, "reject")),
            Decision::Refuse(refusal) => panic!("{refusal:?}"),
            Decision::Ask(rule) => Some((rule.line - 1, rule.method.name())),
        };
        prop_assert_eq!(decided, expected.map(|at| (at, written[at].method)), "{}", text);
    }
}
