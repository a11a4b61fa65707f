//! Maps between names.

use super::super::*;
use super::World;

const MEMBERS: [(&str, &str); 1] = [("alice", "staff")];

fn admit(maps: &str, map: &str, system_user: &str, role: &str) -> Result<(), Mismatch> {
    let maps = Maps::parse(maps).unwrap();
    maps.admit(Some(map), system_user, role, &World::new(&MEMBERS))
}

#[test]
fn a_map_leads_from_names_to_roles() {
    let maps = r#"
m  root          postgres
m  /^(.*)@a\.b$  \1
m  /^(.*)@c$     app_\1_\1
m  "all"         "all"
m  boss          all
m  team          +staff
m  ops           /^ops_
m  /^x(y)?$      +\1
n  /^(.*)$       "+\1"
"#;
    let cases = [
        ("m", "root", "postgres", true),
        ("m", "root", "root", false),
        ("m", "alice@a.b", "alice", true),
        ("m", "alice@a.b", "bob", false),
        ("m", "alice@axb", "alice", false),
        // Only the first is replaced.
        ("m", "al@c", "app_al_\\1", true),
        ("m", "al@c", "app_al_al", false),
        ("m", "all", "all", true),
        ("m", "all", "alice", false),
        ("m", "boss", "anybody", true),
        ("m", "team", "alice", true),
        ("m", "team", "staff", true),
        ("m", "team", "bob", false),
        ("m", "ops", "ops_1", true),
        ("m", "ops", "dev", false),
        // A group is not replaced in.
        ("m", "xy", "y", false),
        ("n", "root", "postgres", false),
        // What came of a replacement is a name and nothing else.
        ("n", "staff", "alice", false),
        ("n", "staff", "+staff", true),
    ];
    for (map, system_user, role, allowed) in cases {
        let result = admit(maps, map, system_user, role);
        assert_eq!(result.is_ok(), allowed, "{map} {system_user} {role}");
    }
    let replaced = r"m /^(.*)$ \1";
    assert!(admit(replaced, "m", "all", "bob").is_err());
    assert!(admit(replaced, "m", "/.*", "bob").is_err());
    assert_eq!(admit(replaced, "none", "a", "a"), Err(Mismatch::NoMatch("none".to_owned())));
}

#[test]
fn without_a_map_the_names_are_the_same() {
    let (maps, world) = (Maps::default(), World::new(&MEMBERS));
    assert_eq!(maps.admit(None, "alice", "alice", &world), Ok(()));
    assert_eq!(maps.admit(None, "alice", "staff", &world), Err(Mismatch::Different));
    assert_eq!(maps.admit(None, "alice", "ALICE", &world), Err(Mismatch::Different));
}

#[test]
fn a_group_that_took_no_part_ends_the_search() {
    let maps = "m /^a(b)?$ \\1\nm a all";
    assert_eq!(admit(maps, "m", "a", "x"), Err(Mismatch::NoGroup { line: 1 }));
    assert_eq!(admit(maps, "m", "ab", "b"), Ok(()));
}

#[test]
fn every_bad_line_is_named() {
    let text = "m\nm a\nm a b\nm a b c\nm,n a b\nm a,b c\nm a b,c\nm /( b\nm /a \\1\n@m a b\n";
    let errors = Maps::parse(text).unwrap_err();
    let shown: Vec<_> = errors.iter().map(|it| (it.line, it.fault.to_string())).collect();
    let expected = [
        (1, "the line ends before the system user"),
        (2, "the line ends before the database user"),
        (4, "the line goes on after the database user: quote values that contain blanks"),
        (5, "several values for the map name: write a line for each"),
        (6, "several values for the system user: write a line for each"),
        (7, "several values for the database user: write a line for each"),
        (8, "invalid regular expression \"(\": unclosed group"),
        (9, "\"\\1\" refers to \\1, but the regular expression has no group in parentheses"),
        (10, "\"@m\": lists in files are not supported: write the names here, separated by commas"),
    ];
    assert_eq!(shown.len(), expected.len());
    for ((line, fault), expected) in shown.iter().zip(expected) {
        assert_eq!((*line, fault.as_str()), expected);
    }
    assert_eq!(Maps::parse("# nothing\n"), Ok(Maps::default()));
    let inline = InlineMap { line: 3, map: "m", system_user: "a b", database_user: "c" };
    let errors = Maps::inline([inline]).unwrap_err();
    assert_eq!(errors, [LineError { line: 3, fault: Fault::OneField("system user") }]);
    let inline = InlineMap { system_user: "\"a b\"", ..inline };
    assert_eq!(Maps::inline([inline]).unwrap(), Maps::parse("\n\nm \"a b\" c").unwrap());
}
