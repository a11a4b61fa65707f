//! What is understood, and what is not.

use proptest::prelude::*;

use super::super::command::Statement;
use super::super::foreign::{Foreign, Who};
use super::super::tables::Show;
use super::super::{lexer, parse};
use crate::facts::Right;
use crate::order::{Command, Shutdown, Target};

pub(super) fn who() -> Who {
    Who {
        user: "root".into(),
        database: "pgbouncer".into(),
        application_name: "psql".into(),
        id: 99,
        right: Right::Admin,
        version: "1.2.3",
    }
}

pub(super) fn parsed(text: &str) -> Result<Statement, String> {
    let statements = lexer::statements(text).map_err(|error| error.to_string())?;
    let [statement] = &statements[..] else { return Err("not one statement".into()) };
    parse::parse(statement, &who()).map_err(|error| error.message.into_owned())
}

fn command(text: &str) -> Command {
    match parsed(text) {
        Ok(Statement::Command(command)) => command,
        other => panic!("{text}: {other:?}"),
    }
}

fn app() -> Target {
    Target::Database("app".into())
}

#[test]
fn verbs_are_pgbouncers() {
    for (text, expected) in [
        ("pause", Command::Pause(Target::All)),
        ("PAUSE app;", Command::Pause(app())),
        ("Resume 'app'", Command::Resume(app())),
        ("RESUME", Command::Resume(Target::All)),
        ("DISABLE \"A b\"", Command::Disable("A b".into())),
        ("enable app", Command::Enable("app".into())),
        ("RECONNECT", Command::Reconnect(Target::All)),
        ("RECONNECT app", Command::Reconnect(app())),
        ("KILL", Command::Kill(Target::All)),
        ("kill app", Command::Kill(app())),
        ("KILL_CLIENT 12", Command::KillClient(12)),
        ("WAIT_CLOSE app", Command::WaitClose(app())),
        ("RELOAD", Command::Reload),
        ("SHUTDOWN", Command::Shutdown(Shutdown::Immediate)),
        ("SHUTDOWN WAIT_FOR_CLIENTS", Command::Shutdown(Shutdown::WaitForClients)),
        ("shutdown wait_for_servers", Command::Shutdown(Shutdown::WaitForServers)),
        ("DRAIN pg-0.citus", Command::Drain("pg-0.citus".into())),
        ("UNDRAIN n1", Command::Undrain("n1".into())),
        ("LOG_LEVEL debug", Command::LogLevel("debug".into())),
        ("LOG_LEVEL 'info,pool=debug'", Command::LogLevel("info,pool=debug".into())),
    ] {
        assert_eq!(command(text), expected, "{text}");
    }
}

#[test]
fn set_takes_one_value() {
    let set = |key: &str, value: &str| Command::Set { key: key.into(), value: value.into() };
    assert_eq!(command("SET default_pool_size = 20"), set("default_pool_size", "20"));
    assert_eq!(command("set pool.size to '20'"), set("pool.size", "20"));
    assert_eq!(command("SET server_idle_timeout=-1"), set("server_idle_timeout", "-1"));
    assert_eq!(command("SET log_prefix = ''"), set("log_prefix", ""));
    // PgBouncer has it, and PostgreSQL 17 too: an operator means PgBouncer's.
    assert_eq!(command("SET transaction_timeout = 5"), set("transaction_timeout", "5"));
    assert!(parsed("SET pool.size =").unwrap_err().starts_with("a value for pool.size"));
    assert!(parsed("SET pool.size = 1 2").is_err());
    assert!(parsed("SET ROLE x").is_err());
    assert!(parsed("SET SESSION AUTHORIZATION x").is_err());
}

#[test]
fn every_table_is_shown_and_selected() {
    for show in Show::ALL {
        for verb in ["SHOW", "select"] {
            let text = format!("{verb} {};", show.word().to_lowercase());
            assert_eq!(parsed(&text), Ok(Statement::Show(*show)), "{text}");
        }
    }
}

#[test]
fn what_is_missing_or_too_much_is_said() {
    assert_eq!(parsed("DISABLE").unwrap_err(), "a database is required");
    assert_eq!(parsed("DRAIN").unwrap_err(), "a node is required");
    assert_eq!(parsed("KILL_CLIENT x").unwrap_err(), "a client's number is required");
    assert_eq!(
        parsed("KILL_CLIENT 99999999999999999999").unwrap_err(),
        "a client's number is required"
    );
    assert_eq!(parsed("PAUSE \"\"").unwrap_err(), "the argument is empty");
    assert_eq!(parsed("PAUSE 'a\nb'").unwrap_err(), "the argument has a control character");
    assert!(parsed("PAUSE a b").is_err());
    assert!(parsed("PAUSE *").is_err());
    let long = format!("PAUSE {}", "x".repeat(100_000));
    assert_eq!(parsed(&long).unwrap_err(), "the argument is longer than 63 bytes");
    assert_eq!(parsed("SHOW POOL").unwrap_err(), "invalid command 'SHOW POOL', use SHOW HELP;");
    assert!(parsed(&format!("x{}", "y".repeat(100_000))).unwrap_err().len() < 200);
    for text in ["SUSPEND now", "RELOAD x", "SHUTDOWN x", "\"PAUSE\"", "SHOW", "SELECT", "="] {
        assert!(parsed(text).is_err(), "{text}");
    }
}

#[test]
fn drivers_are_understood() {
    for text in [
        "BEGIN",
        "begin transaction isolation level read committed read only",
        "START TRANSACTION READ ONLY",
        "COMMIT",
        "END",
        "ROLLBACK WORK",
        "ABORT",
        "SET extra_float_digits = 3",
        "SET application_name = 'x'",
        "SET DateStyle=ISO",
        "set client_encoding to 'UTF8'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET search_path = a, \"b\"",
        "SET TIME ZONE 'UTC'",
        "RESET ALL",
        "DISCARD ALL",
        "DEALLOCATE ALL",
        "DEALLOCATE PREPARE x",
        "CLOSE ALL",
        "UNLISTEN *",
        "SHOW TRANSACTION ISOLATION LEVEL",
        "show standard_conforming_strings",
        "SHOW ALL",
        "SELECT 1",
        "SELECT 'a' AS b, 2::int4 c",
        "select pg_catalog.version()",
        "SELECT current_database(), current_schema, current_user",
        "SELECT pg_backend_pid()",
        "SELECT pg_catalog.pg_is_in_recovery()",
        "SELECT pg_advisory_unlock_all()",
        "SELECT current_setting('server_version_num')",
        "SELECT set_config('bytea_output','hex',false) FROM pg_settings WHERE name = 'bytea_output'",
        // pgAdmin 4 since 9.
        "SELECT set_config('bytea_output','hex',false) FROM pg_show_all_settings() \
         WHERE name = 'bytea_output'",
        "SELECT db.oid as did, db.datname FROM pg_catalog.pg_database db WHERE db.datname = current_database()",
        "SELECT gss_authenticated, encrypted FROM pg_catalog.pg_stat_gssapi WHERE pid = pg_backend_pid()",
        "SELECT roles.oid as id, roles.rolname as name FROM pg_catalog.pg_roles as roles WHERE rolname = current_user",
        "SELECT CASE WHEN (SELECT count(extname) FROM pg_catalog.pg_extension WHERE extname='bdr') > 0 \
         THEN 'pgd' ELSE NULL END as type",
        "SELECT CASE WHEN usesuper THEN pg_catalog.pg_is_in_recovery() ELSE FALSE END as inrecovery \
         FROM pg_catalog.pg_user WHERE usename=current_user",
    ] {
        assert!(matches!(parsed(text), Ok(Statement::Foreign(_))), "{text}: {:?}", parsed(text));
    }
    for text in [
        "ROLLBACK TO x",
        "SAVEPOINT x",
        "SELECT 1 +",
        "SELECT",
        "SELECT 1 FROM pg_class",
        "SELECT version(), nonsense()",
        "SELECT set_config('pool.size', '1', false)",
        "SHOW nonsense",
        "DELETE FROM x",
        "COPY x FROM STDIN",
    ] {
        assert!(parsed(text).is_err(), "{text}: {:?}", parsed(text));
    }
}

#[test]
fn answers_to_drivers_have_their_columns() {
    let Ok(Statement::Foreign(Foreign::Rows(rows))) = parsed("SELECT version() v, 7 \"Q\", 1")
    else {
        panic!("rows")
    };
    let names: Vec<&str> = rows.columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["v", "Q", "?column?"]);
    assert_eq!(rows.rows[0][0], "PostgreSQL 14.0 (pgmesh 1.2.3)".to_owned().into());
}

fn any_target() -> impl Strategy<Value = Target> {
    prop_oneof![Just(Target::All), "[^\\p{C}\"]{1,15}".prop_map(Target::Database)]
}

/// As an operator would write it.
fn written(verb: &str, target: &Target) -> String {
    match target {
        Target::All => verb.to_owned(),
        Target::Database(name) => format!("{verb} \"{name}\""),
    }
}

proptest! {
    #[test]
    fn a_target_reads_back(target in any_target()) {
        prop_assert_eq!(command(&written("pause", &target)), Command::Pause(target.clone()));
        prop_assert_eq!(command(&written("KILL", &target)), Command::Kill(target));
    }

    #[test]
    fn a_value_reads_back(key in "[a-z][a-z_.]{3,20}", value in "[^\\p{C}]{0,40}") {
        let text = format!("SET {key} = '{}'", value.replace('\'', "''"));
        match parsed(&text) {
            Ok(Statement::Command(Command::Set { key: read, value: back })) => {
                prop_assert_eq!((read, back), (key, value));
            }
            Ok(Statement::Foreign(_)) => {}
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn any_text_is_understood_or_refused(text in any::<String>()) {
        let _ = parsed(&text);
    }

    #[test]
    fn any_words_are_understood_or_refused(
        words in prop::collection::vec(
            prop::sample::select(&[
                "SELECT", "SHOW", "SET", "FROM", "AS", "pg_type", "pg_settings", "version", "(",
                ")", ",", ":", "::", "=", "TO", "1", "'a'", "\"b\"", "ALL", "SESSION", "LOCAL",
                "TIME", "ZONE", "DEALLOCATE", "PREPARE", "current_setting", "set_config", "PAUSE",
                ".", "-", "TRANSACTION", "KILL_CLIENT",
            ][..]),
            0..9,
        ),
    ) {
        let _ = parsed(&words.join(" "));
    }
}
