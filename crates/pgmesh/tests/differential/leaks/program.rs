//! Random programs of one client: everything that leaves something in a session, takes it away or
//! shows it, from few names, so that they get in each other's way.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

use crate::raw::{
    close, copy_data, copy_done, copy_fail, function_call, parse, query, run, run_unnamed, sync,
};

/// What a client does from its login to its end.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// Beside user, database and name.
    pub(super) login: Vec<(&'static str, &'static str)>,
    pub(super) steps: Vec<Step>,
    pub(super) end: End,
}

/// How a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With a Terminate.
    Goodbye,
    HangsUp,
}

/// Messages, and how many ReadyForQuery they cause.
#[derive(Clone)]
pub(super) struct Step {
    messages: Vec<u8>,
    pub(super) ready: usize,
}

/// In a text, the numbers of an advisory lock that no other client and no earlier run takes.
const KEY: &str = "KEY";

impl Step {
    pub(super) fn new(messages: &[Vec<u8>], ready: usize) -> Self {
        Self { messages: messages.concat(), ready }
    }

    /// With the locks of client `client` in run `run`.
    pub(super) fn bytes(&self, run: u32, client: usize) -> Vec<u8> {
        // As long as what it stands for, so that no length in a header changes.
        let key = format!("{:03}", (run * 10 + u32::try_from(client).unwrap()) % 1000);
        let mut bytes = self.messages.clone();
        while let Some(at) = bytes.windows(KEY.len()).position(|it| it == KEY.as_bytes()) {
            bytes[at..at + KEY.len()].copy_from_slice(key.as_bytes());
        }
        bytes
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = &self.messages[..];
        while let [tag, a, b, c, d, ..] = rest {
            let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap();
            let (message, after) = rest.split_at(length + 1);
            write!(f, "{} {} ", char::from(*tag), message[5..].escape_ascii())?;
            rest = after;
        }
        Ok(())
    }
}

/// Settings of a session.
const SETTINGS: [&str; 57] = [
    "SET work_mem = '1MB'",
    "SET work_mem = '2MB'",
    "RESET work_mem",
    "SET work_mem TO DEFAULT",
    "SET LOCAL work_mem = '3MB'",
    "SET enable_seqscan = off",
    "RESET enable_seqscan",
    "SET DateStyle = 'German'",
    "RESET DateStyle",
    "SET TimeZone = 'Asia/Tokyo'",
    "SET LOCAL TimeZone = 'EET'",
    "SET TIME ZONE DEFAULT",
    "RESET TimeZone",
    "SET application_name = 'renamed'",
    "RESET application_name",
    "SET client_encoding = 'LATIN1'",
    "RESET client_encoding",
    "SET standard_conforming_strings = off",
    "SET IntervalStyle = 'sql_standard'",
    "SET my.a = 'x'",
    "SET \"My\".B = 'é'",
    "RESET my.a",
    "SET LOCAL my.a = 'z'",
    "SET search_path = pg_temp, public",
    "SET search_path = 'hidden', public",
    "SET search_path = ''",
    "SET LOCAL search_path = hidden",
    "RESET search_path",
    "RESET ALL",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SET default_transaction_isolation = 'serializable'",
    "SET TRANSACTION READ ONLY",
    "SET CONSTRAINTS ALL DEFERRED",
    "SET client_min_messages = error",
    "SET extra_float_digits = 0",
    "SET bytea_output = escape",
    "SET session_replication_role = replica",
    "SET plan_cache_mode = force_custom_plan",
    "SET statement_timeout = '1h'",
    "RESET statement_timeout",
    "SET row_security = off",
    "SET default_tablespace = pg_default",
    "SET no_such_setting = 1",
    "SET work_mem = 'much'",
    "SELECT set_config('work_mem', '5MB', false)",
    "SELECT set_config('work_mem', '6MB', true)",
    "SELECT set_config('my.a', 'c', false)",
    "SELECT set_config('role', 'reader', false)",
    "SELECT set_config('search_path', 'hidden, public', false)",
    "DO $$ BEGIN PERFORM set_config('work_mem', '7MB', false); END $$",
    "DO $$ BEGIN SET my.a = 'done'; END $$",
    "DO $$ BEGIN SET work_mem = '9MB'; RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END $$",
    "DO $$ BEGIN SET work_mem = '11MB'; COMMIT; SET work_mem = '12MB'; ROLLBACK; END $$",
    "CALL tunes()",
    "UPDATE pg_settings SET setting = '17MB' WHERE name = 'work_mem'",
    "COPY (SELECT set_config('work_mem', '18MB', false)) TO STDOUT",
];

/// Who a session is.
const ROLES: [&str; 11] = [
    "SET ROLE reader",
    "SET ROLE writer",
    "SET LOCAL ROLE reader",
    "SET ROLE nobody",
    "RESET ROLE",
    "SET ROLE NONE",
    "SET SESSION AUTHORIZATION reader",
    "SET LOCAL SESSION AUTHORIZATION writer",
    "RESET SESSION AUTHORIZATION",
    "SET SESSION AUTHORIZATION DEFAULT",
    "DO $$ BEGIN EXECUTE 'SET ROLE writer'; END $$",
];

const TRANSACTIONS: [&str; 16] = [
    "BEGIN",
    "BEGIN",
    "BEGIN",
    "START TRANSACTION READ ONLY",
    "COMMIT",
    "COMMIT",
    "COMMIT",
    "ROLLBACK",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "RELEASE a",
    "SELECT 1/0",
    "SELEC",
    "SELECT * FROM nowhere",
];

/// What no other server has.
const KEPT: [&str; 53] = [
    "CREATE TEMP TABLE t (n int)",
    "CREATE TEMP TABLE IF NOT EXISTS t (n int)",
    "CREATE TEMP TABLE t (n int) ON COMMIT DROP",
    "CREATE TEMP TABLE u (n int) ON COMMIT DELETE ROWS",
    "CREATE TABLE pg_temp.t AS SELECT 2 AS n",
    "SELECT 1 AS n INTO TEMP t",
    "INSERT INTO t VALUES (1)",
    "INSERT INTO u VALUES (1)",
    "DROP TABLE t",
    "DROP TABLE IF EXISTS t, u",
    "CREATE TEMP VIEW v AS SELECT 3 AS n",
    "DROP VIEW v",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 4'",
    "DO $$ BEGIN DROP FUNCTION pg_temp.f(); EXCEPTION WHEN OTHERS THEN NULL; END $$",
    "CREATE STATISTICS pg_temp.s ON n, m FROM hidden.h",
    "DO $$ BEGIN DROP STATISTICS pg_temp.s; EXCEPTION WHEN OTHERS THEN NULL; END $$",
    "CREATE COLLATION pg_temp.c FROM \"C\"",
    "CREATE TYPE pg_temp.e AS ENUM ('a')",
    "CALL makes_one()",
    "DISCARD TEMP",
    "SELECT pg_advisory_lock(KEY)",
    "SELECT pg_advisory_lock(KEY, 1)",
    "SELECT pg_try_advisory_lock(KEY)",
    "SELECT pg_advisory_lock_shared(KEY)",
    "SELECT pg_advisory_xact_lock(KEY)",
    "SELECT takes_advisory_lock(KEY)",
    "SELECT pg_advisory_unlock(KEY)",
    "SELECT pg_advisory_unlock(KEY, 1)",
    "SELECT pg_advisory_unlock_shared(KEY)",
    "SELECT pg_advisory_unlock_all()",
    "PREPARE q AS SELECT 1 AS q",
    "PREPARE r (int) AS SELECT $1 + 1 AS r",
    "PREPARE z AS SELECT set_config('work_mem', '13MB', false)",
    "EXECUTE q",
    "EXECUTE r(1)",
    "EXECUTE z",
    "DEALLOCATE q",
    "DEALLOCATE PREPARE r",
    "DEALLOCATE ALL",
    "DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 3)",
    "DECLARE c CURSOR FOR SELECT generate_series(1, 3)",
    "DECLARE d CURSOR FOR SELECT 1",
    "FETCH c",
    "MOVE ALL c",
    "CLOSE c",
    "CLOSE ALL",
    "LISTEN news",
    "LISTEN \"Other\"",
    "UNLISTEN news",
    "UNLISTEN *",
    "DISCARD PLANS",
    "DISCARD ALL",
    "DISCARD ALL",
];

/// What shows the state of a session. What of a setting of its own name is only ever null or
/// empty depends on whether its server has seen the name before; and of a PREPARE in a text with
/// other statements only its own part is there on another server.
pub(super) const SHOWN: [&str; 12] = [
    "SELECT name, setting FROM pg_catalog.pg_settings WHERE context IN ('user', 'superuser') \
     AND setting IS DISTINCT FROM boot_val ORDER BY name",
    "SELECT nullif(current_setting('my.a', true), ''), nullif(current_setting('my.b', true), ''), \
     nullif(current_setting('my.login', true), '')",
    "SELECT current_user, session_user, current_setting('role'), current_setting('search_path')",
    "SELECT name, (regexp_match(statement, 'PREPARE ' || name || '[^;]*'))[1], parameter_types \
     FROM pg_catalog.pg_prepared_statements WHERE from_sql ORDER BY name",
    "SELECT name, statement, is_holdable FROM pg_catalog.pg_cursors ORDER BY name",
    "SELECT * FROM pg_catalog.pg_listening_channels() AS channel ORDER BY channel",
    "SELECT locktype, mode, objsubid FROM pg_catalog.pg_locks WHERE pid = pg_backend_pid() \
     AND locktype = 'advisory' ORDER BY mode, objsubid",
    "SELECT relname, relkind FROM pg_catalog.pg_class WHERE relnamespace = pg_my_temp_schema() \
     ORDER BY relname",
    "SELECT deptype, classid::regclass FROM pg_catalog.pg_depend \
     WHERE refclassid = 'pg_catalog.pg_namespace'::regclass AND refobjid = pg_my_temp_schema() \
     ORDER BY 2",
    "SELECT n FROM t ORDER BY n",
    "TABLE u",
    "SELECT n FROM v",
];

/// Settings of a login.
const LOGINS: [&[(&str, &str)]; 5] = [
    &[],
    &[("TimeZone", "CET"), ("DateStyle", "SQL, DMY")],
    &[("options", "-c work_mem=14MB -c my.login=yes")],
    &[("search_path", "hidden, public")],
    &[("client_encoding", "LATIN1")],
];

/// A program of at most this many steps.
pub(super) fn program(steps: usize) -> impl Strategy<Value = Program> {
    let login = select(LOGINS.map(<[_]>::to_vec).to_vec());
    let end = prop_oneof![2 => Just(End::Goodbye), 1 => Just(End::HangsUp)];
    (login, vec(step(), 1..=steps), end).prop_map(|(login, steps, end)| Program {
        login,
        steps,
        end,
    })
}

fn text() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => select(&SHOWN[..]),
        4 => select(&SETTINGS[..]),
        1 => select(&ROLES[..]),
        3 => select(&TRANSACTIONS[..]),
        4 => select(&KEPT[..]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    // Texts that mean the same under any settings: a server may parse them at their next use.
    let lasting = select(vec![
        "SELECT $1::text, current_setting('work_mem')",
        "SHOW search_path",
        "SET work_mem = '15MB'",
        "SELECT set_config('my.a', $1, false)",
        "SELECT pg_catalog.set_config('role', 'reader', false)",
        "SELECT pg_catalog.current_setting($1)",
    ]);
    let name = || select(vec!["s", "s", "t"]);
    let values = vec(Just("work_mem"), 0..2);
    prop_oneof![
        10 => text().prop_map(|text| Step::new(&[query(text)], 1)),
        3 => vec(text(), 2..5)
            .prop_map(|texts| Step::new(&[query(&apart(texts).join("; "))], 1)),
        4 => text().prop_map(|text| Step::new(&[run_unnamed(text, &[]), sync()], 1)),
        1 => vec(text(), 2..4).prop_map(|texts| {
            let mut all: Vec<_> = apart(texts).iter().map(|it| run_unnamed(it, &[])).collect();
            all.push(sync());
            Step::new(&all, 1)
        }),
        1 => (vec((text(), any::<bool>()), 2..4)).prop_map(|texts| {
            let message = |(text, is_simple): &(&str, bool)| match is_simple {
                true => query(text),
                false => [run_unnamed(text, &[]), sync()].concat(),
            };
            Step::new(&texts.iter().map(message).collect::<Vec<_>>(), texts.len())
        }),
        1 => (name(), lasting).prop_map(|(name, text)| {
            Step::new(&[close(name), parse(name, text), sync()], 1)
        }),
        2 => (name(), values).prop_map(|(name, values)| {
            Step::new(&[run(name, &values), sync()], 1)
        }),
        1 => select(vec![(2078, vec!["work_mem", "18MB", "f"]), (2880, vec!["KEY"])])
            .prop_map(|(oid, arguments)| Step::new(&[function_call(oid, &arguments)], 1)),
        1 => copy().prop_map(|copy| Step::new(&[copy], 1)),
    ]
}

/// A RESET is alone in what is sent at once: what is behind it there sees the settings of the
/// server's login, and not those of the client's (docs/decisions/0012).
fn apart(texts: Vec<&'static str>) -> Vec<&'static str> {
    let resets =
        |text: &&&str| ["RESET", "DEFAULT", "DISCARD ALL"].iter().any(|word| text.contains(word));
    match texts.iter().find(resets) {
        Some(reset) => vec![reset],
        None => texts,
    }
}

fn copy() -> impl Strategy<Value = Vec<u8>> {
    let into = || select(vec!["COPY t FROM STDIN", "COPY u FROM STDIN"]);
    let data = || {
        let end = select(vec![copy_done(), copy_fail("no")]);
        (select(vec![&b"7\n"[..], b"8\n9\n", b"x\n"]), end)
            .prop_map(|(data, end)| [copy_data(data), end].concat())
    };
    prop_oneof![
        (into(), data()).prop_map(|(sql, data)| [query(sql), data].concat()),
        (into(), data()).prop_map(|(sql, data)| [run_unnamed(sql, &[]), data, sync()].concat()),
        Just(query("COPY (SELECT setting FROM pg_settings WHERE name = 'work_mem') TO STDOUT")),
    ]
}
