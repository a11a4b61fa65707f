//! What a server reports as ParameterStatus follows the client from server to server.

use crate::clients::Raw;
use crate::metrics::sample;
use crate::postgres;
use crate::proxy::Setup;

/// Settings, a value of the first client's and one of the second's.
const SETTINGS: [(&str, &str, &str); 8] = [
    ("client_encoding", "LATIN1", "UTF8"),
    ("DateStyle", "SQL, DMY", "German, DMY"),
    ("TimeZone", "Asia/Tokyo", "America/New_York"),
    ("IntervalStyle", "iso_8601", "sql_standard"),
    ("standard_conforming_strings", "off", "on"),
    ("application_name", "first", "it's the \"second\""),
    ("application_name", "", "second"),
    ("default_transaction_read_only", "on", "off"),
];

#[test]
fn each_client_keeps_its_own_on_a_shared_server() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let (mut first, mut second) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    for (name, one, two) in SETTINGS {
        for (client, value) in [(&mut first, one), (&mut second, two)] {
            client.value(&format!("SET {name} = '{}'", value.replace('\'', "''")));
            assert_eq!(client.reported[name], value, "the change is told");
        }
        for _ in 0..2 {
            for (client, value) in [(&mut first, one), (&mut second, two)] {
                assert_eq!(client.value(&format!("SHOW {name}")), value, "{name}");
                assert_eq!(client.reported[name], value);
            }
        }
    }
    assert_eq!(sample(&mesh, "pgmesh_server_connects_total", ""), 1.0);
}

#[test]
fn they_go_along_to_another_server() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 2").start();
    let (mut client, mut holder) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    client.value("SET TimeZone = 'Asia/Tokyo'");
    client.value("SET application_name = 'traveller'");
    let first = client.value("SELECT pg_backend_pid()");
    holder.query("BEGIN");
    assert_eq!(holder.value("SELECT pg_backend_pid()"), first);
    let shown = "SELECT current_setting('TimeZone'), current_setting('application_name'),
        pg_backend_pid() <> ";
    let answer = client.query(&format!("{shown}{first}"));
    assert_eq!(answer.rows, [["Asia/Tokyo", "traveller", "t"]]);
    // And it is seen where an administrator looks.
    let seen = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'traveller'";
    assert!(postgres.psql(seen).unwrap() != "0");
}

#[test]
fn what_is_rolled_back_or_reset_is_as_before() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let version = wire::Version::V3_0;
    let asked = [("TimeZone", "Asia/Tokyo"), ("application_name", "mine")];
    let mut client = Raw::log_in_with(&mesh.app(), version, &asked).unwrap();
    let mut other = Raw::log_in(&mesh.app());
    let mut check = |client: &mut Raw, zone: &str, when: &str| {
        other.value("SET TimeZone = 'America/New_York'");
        assert_eq!(client.reported["TimeZone"], zone, "{when}");
        assert_eq!(client.value("SHOW TimeZone"), zone, "{when}");
        assert_eq!(other.value("SHOW TimeZone"), "America/New_York", "{when}");
        assert_eq!(client.value("SHOW application_name"), "mine", "{when}");
    };
    for back in ["RESET TimeZone", "RESET ALL", "DISCARD ALL", "SET TimeZone TO DEFAULT"] {
        client.value("SET TimeZone = 'Europe/Rome'");
        check(&mut client, "Europe/Rome", back);
        client.value(back);
        check(&mut client, "Asia/Tokyo", back);
    }
    client.query("BEGIN; SET TimeZone = 'Europe/Rome'");
    client.query("ROLLBACK");
    check(&mut client, "Asia/Tokyo", "ROLLBACK");
    client.query("BEGIN");
    client.query("SET LOCAL TimeZone = 'Europe/Rome'");
    assert_eq!(client.reported["TimeZone"], "Europe/Rome");
    client.query("COMMIT");
    check(&mut client, "Asia/Tokyo", "SET LOCAL");
}

#[test]
fn text_arrives_in_the_encoding_of_its_client() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let (mut latin, mut utf8) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    latin.value("SET client_encoding = 'LATIN1'");
    for _ in 0..2 {
        // The bytes of the value, behind its column count and length.
        for (client, bytes) in [(&mut latin, &b"\xe4"[..]), (&mut utf8, "ä".as_bytes())] {
            client.ask("SELECT U&'\\00e4'");
            assert_eq!(client.message().tag, b'T');
            let row = client.message();
            assert_eq!(&row.body[6..], bytes);
            client.answer();
        }
    }
}
