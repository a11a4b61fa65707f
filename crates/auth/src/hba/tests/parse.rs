//! What a file may hold.

use super::super::*;

/// The one fault of a text, as it is shown.
fn fault(text: &str) -> String {
    match Rules::parse(text) {
        Ok(rules) => format!("no fault: {}", rules.iter().next().unwrap()),
        Err(errors) => errors[0].fault.to_string(),
    }
}

#[test]
fn a_file_as_people_write_it() {
    let text = "\
# TYPE  DATABASE        USER            ADDRESS                 METHOD
local   all             postgres                                peer map=admins
local   all             all                                     md5

host    all             all             127.0.0.1/32            scram-sha-256
host    \"all\",sales     +support, bob   10.0.0.0  255.0.0.0     trust   # inside
hostssl /^db\\d+$        all             ::/0                    cert map=\"my map\"
hostnossl sameuser,samerole,samegroup  @  samenet              reject
hostgssenc replication  all             all                     trust
hostnogssenc all        \"+x\"            samehost                \\
    scram-sha-256
hostssl all all all ldap ldapserver=\"a b\" ldapbasedn=\"dc=x, dc=y\" ldapscheme=ldaps
host all all all ldap ldapserver=a ldapprefix=cn= ldapport=1389 ldaptls=1
host all all all ldap ldapurl=\"LDAPS://[::1]:7/dc=x%2c%20dc=y?cn,uid?sub\"
host all all all ldap ldapurl=\"ldap://a/dc=x???(uid=$username)\" ldapbinddn=cn=b ldaptls=1
host all all all ldap ldapurl=ldap://a/ ldapport=9 ldapprefix=x
hostssl all all all oauth issuer=https://id.example scope=\"a b\" clientcert=verify-full
hostssl all all all scram-sha-256 clientcert=verify-ca
";
    let printed: Vec<_> = Rules::parse(text).unwrap().iter().map(Rule::to_string).collect();
    let expected = [
        "local all postgres peer map=admins",
        "local all all scram-sha-256",
        "host all all 127.0.0.1/32 scram-sha-256",
        "host \"all\",sales +support,bob 10.0.0.0/8 trust",
        "hostssl /^db\\d+$ all ::/0 cert map=\"my map\"",
        "hostnossl sameuser,samerole,samerole \"@\" samenet reject",
        "hostgssenc replication all all trust",
        "hostnogssenc all \"+x\" samehost scram-sha-256",
        "hostssl all all all ldap ldapserver=\"a b\" ldapscheme=ldaps ldapbasedn=\"dc=x, dc=y\" \
         ldapsearchattribute=uid",
        "host all all all ldap ldapserver=a ldapport=1389 ldaptls=1 ldapprefix=cn=",
        "host all all all ldap ldapserver=::1 ldapport=7 ldapscheme=ldaps \
         ldapbasedn=\"dc=x, dc=y\" ldapsearchattribute=cn",
        "host all all all ldap ldapurl=ldap://a/dc=x??base?(uid=%24username) ldaptls=1 \
         ldapbinddn=cn=b",
        "host all all all ldap ldapserver=a ldapport=9 ldapprefix=x",
        "hostssl all all all oauth issuer=https://id.example scope=\"a b\" clientcert=verify-full",
        "hostssl all all all scram-sha-256 clientcert=verify-ca",
    ];
    assert_eq!(printed, expected);
    let lines: Vec<_> = Rules::parse(text).unwrap().iter().map(|rule| rule.line).collect();
    assert_eq!(lines, [2, 3, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18]);
}

#[test]
fn every_bad_line_is_named_and_says_what_to_do() {
    let text = "host all all all trust\nhots all all all trust\n\nhost all\n@x all\nlocal a b c\n";
    let errors = Rules::parse(text).unwrap_err();
    let shown: Vec<_> = errors.iter().map(LineError::to_string).collect();
    let expected = [
        "line 2: invalid connection type \"hots\": use local, host, hostssl, hostnossl, \
         hostgssenc or hostnogssenc",
        "line 4: the line ends before the user",
        "line 5: \"@x\": lists in files are not supported: write the names here, separated by \
         commas",
        "line 6: authentication method \"c\" is not supported: use scram-sha-256 (md5 means the \
         same), cert, ldap, oauth, peer, trust or reject",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn what_a_line_of_ldap_may_not_say() {
    let cases = [
        ("local all all ldap", "needs the option \"ldapserver\""),
        ("local all all ldap ldapserver=a", "needs \"ldapbasedn\""),
        ("local all all ldap ldapserver=a ldapprefix=b ldapbasedn=c", "choose one way"),
        (
            "local all all ldap ldapserver=a ldapbasedn=c ldapsearchattribute=d ldapsearchfilter=e",
            "choose one",
        ),
        ("local all all ldap ldapserver=a ldapbasedn=c ldapport=0", "a port number"),
        ("local all all ldap ldapserver=a ldapbasedn=c ldaptls=2", "0 or 1"),
        ("local all all ldap ldapserver=a ldapbasedn=c ldapscheme=x", "\"ldap\" or \"ldaps\""),
        (
            "local all all ldap ldapserver=a ldapbasedn=c ldapscheme=ldaps ldaptls=1",
            "ldaptls=1 is for the scheme ldap",
        ),
        ("local all all ldap ldapurl=http://a/b", "invalid ldapurl"),
        ("local all all ldap ldapurl=ldap:a", "invalid ldapurl"),
        ("local all all ldap ldapurl=ldap://[::1/b", "invalid ldapurl"),
        ("local all all ldap ldapurl=ldap://a/b%2", "invalid ldapurl"),
        ("local all all ldap ldapurl=ldap://a/b%c3", "invalid ldapurl"),
        ("local all all ldap ldapurl=ldap://a/b%00", "a NUL or line break"),
        ("local all all ldap ldapurl=ldap://a/b??all", "invalid ldapurl"),
        ("local all all ldap ldapurl=ldap://a/b????!x", "invalid ldapurl"),
        ("local all all ldap ldapurl=ldap:///b", "needs the option \"ldapserver\", or \"ldapurl\""),
        ("local all all ldap ldapurl=ldap://a/b ldapserver=c", "remove one of them"),
        ("local all all ldap ldapurl=ldap://a/b ldapprefix=c", "choose one way"),
        ("local all all ldap ldapurl=ldap://a/b?c??(d=e)", "choose one"),
    ];
    for (text, expected) in cases {
        let shown = fault(text);
        assert!(shown.contains(expected), "{text}: {shown}");
    }
}

#[test]
fn what_a_line_may_not_say() {
    let cases = [
        ("", "no rule at all"),
        ("# only this", "no rule at all"),
        ("include other.conf", "\"include\" is not supported"),
        ("include_dir conf.d", "\"include_dir\" is not supported"),
        ("include_if_exists x", "\"include_if_exists\" is not supported"),
        ("host,local all all all trust", "several values for the connection type"),
        ("local", "ends before the database"),
        ("local all", "ends before the user"),
        ("local all all", "ends before the authentication method"),
        ("host all all", "ends before the address"),
        ("host all all all", "ends before the authentication method"),
        ("host all all 10.0.0.1", "ends before the mask"),
        ("host all all 10.0.0.1 trust", "invalid IP mask \"trust\""),
        ("host all all 10.0.0.1 ffff:: trust", "do not match"),
        ("host all all 10.0.0.1 255.0.0.0,255.0.0.0 trust", "several values for the mask"),
        ("host all all 10.0.0.1/33 trust", "invalid mask length \"33\""),
        ("host all all ::1/129 trust", "invalid mask length \"129\""),
        ("host all all 10.0.0.1/+8 trust", "invalid mask length \"+8\""),
        ("host all all 10.0.0.1/ trust", "invalid mask length \"\""),
        ("host all all 10.0.0/8 trust", "invalid IP address \"10.0.0\""),
        ("host all all fe80::1%eth0/64 trust", "invalid IP address"),
        ("host all all all,samenet trust", "several values for the address"),
        ("host all all example.com trust", "host names are not supported (\"example.com\")"),
        ("host all all .example.com trust", "host names are not supported"),
        ("host all all example.com/24 trust", "host names are not supported"),
        ("host all all \"all\" trust", "host names are not supported (\"all\")"),
        ("host all all all trust,reject", "several values for the authentication method"),
        ("host all all all password", "\"password\" is not supported"),
        ("host all all all gss", "\"gss\" is not supported"),
        ("host all all all ident", "\"ident\" is not supported"),
        ("host all all all SCRAM-SHA-256", "\"SCRAM-SHA-256\" is not supported"),
        ("host all all all peer", "only supported on local sockets"),
        ("host all all all cert", "only supported on hostssl connections"),
        ("local all all cert", "only supported on hostssl connections"),
        ("host all /( all trust", "invalid regular expression \"(\": unclosed group"),
        ("host /\\1 all all trust", "invalid regular expression"),
        ("local all all trust what", "option 1 is not in the form name=value"),
        ("local all all trust maps=x", "unknown authentication option \"maps\""),
        ("local all all trust map=x", "\"map\" does not go with this method"),
        ("local all all peer map=x map=y", "\"map\" is given twice"),
        ("local all all peer issuer=x", "\"issuer\" does not go with this method: it is for oauth"),
        ("host all all all trust clientcert=verify-ca", "only be configured for \"hostssl\""),
        ("hostssl all all all trust clientcert=1", "invalid value for the option \"clientcert\""),
        ("hostssl all all all cert clientcert=verify-ca", "only accepts \"verify-full\""),
        ("hostssl all all all cert clientname=DN", "invalid value for the option \"clientname\""),
        ("hostssl all all all trust clientname=CN", "\"clientname\" does not go with this"),
        ("local a\0b all trust", "a NUL or line break"),
    ];
    for (text, expected) in cases {
        let shown = fault(text);
        assert!(shown.contains(expected), "{text}: {shown}");
    }
}

#[test]
fn a_password_is_in_no_message() {
    let rule = "local all all ldap ldapserver=a ldapbasedn=b ldapbindpasswd=hunter2";
    let rules = Rules::parse(rule).unwrap();
    let shown = format!("{rules:?} {}", rules.iter().next().unwrap());
    assert!(!shown.contains("hunter2") && shown.contains("ldapbindpasswd=***"), "{shown}");
    let wrong = ["ldapbindpasswd=x hunter2", "ldapbindpasswd=hunter2 ldapbindpasswd=hunter2"];
    for options in wrong {
        let errors = Rules::parse(&format!("local all all ldap {options}")).unwrap_err();
        assert!(!format!("{errors:?} {}", errors[0]).contains("hunter2"));
    }
}

fn inline() -> InlineRule<'static> {
    InlineRule {
        line: 7,
        kind: "hostssl",
        database: "a, \"b c\"",
        user: "+staff",
        address: Some("10.0.0.0/8"),
        method: "cert",
        options: &[("map", "m \"x\"")],
    }
}

#[test]
fn inline_rules_are_the_same_rules() {
    let rules = Rules::inline([inline()]).unwrap();
    let same = "hostssl a,\"b c\" +staff 10.0.0.0/8 cert map=\"m \"\"x\"\"\"";
    assert_eq!(rules.iter().next().unwrap().to_string(), same);
    let same = Rules::parse(&format!("{}{same}", "\n".repeat(6))).unwrap();
    assert_eq!(rules, same);

    let mask = InlineRule { address: Some("10.0.0.0 255.0.0.0"), ..inline() };
    assert_eq!(Rules::inline([mask]).unwrap(), same);
    let anywhere = Rules::inline([InlineRule { address: None, ..inline() }]).unwrap();
    assert!(anywhere.iter().next().unwrap().to_string().contains(" all cert"));
    let local = InlineRule { kind: "local", address: None, method: "peer", ..inline() };
    assert!(Rules::inline([local]).is_ok());
}

#[test]
fn an_inline_field_is_one_field() {
    let cases = [
        (InlineRule { database: "a b", ..inline() }, Fault::OneField("database")),
        (InlineRule { database: "", ..inline() }, Fault::OneField("database")),
        (InlineRule { user: "# x", ..inline() }, Fault::OneField("user")),
        (InlineRule { kind: "host all", ..inline() }, Fault::OneField("connection type")),
        (InlineRule { address: Some("10.0.0.0/8 x"), ..inline() }, Fault::OneField("address")),
        (InlineRule { address: Some("all all"), ..inline() }, Fault::OneField("address")),
        (InlineRule { address: Some(""), ..inline() }, Fault::OneField("address")),
        (
            InlineRule { method: "trust map=x", ..inline() },
            Fault::OneField("authentication method"),
        ),
        (InlineRule { kind: "local", ..inline() }, Fault::LocalAddress),
        (InlineRule { user: "a\nb", ..inline() }, Fault::Control),
        (InlineRule { options: &[("map", "a\nb")], ..inline() }, Fault::Control),
        (InlineRule { options: &[("mpa", "x")], ..inline() }, Fault::UnknownOption("mpa".into())),
    ];
    for (rule, fault) in cases {
        let errors = Rules::inline([inline(), rule]).unwrap_err();
        assert_eq!(errors, [LineError { line: 7, fault }], "{rule:?}");
    }
    assert_eq!(Rules::inline([]).unwrap_err()[0].fault, Fault::Empty);
}
