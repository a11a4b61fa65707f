//! Settings that are reported follow their client; those that are not end with the transaction.

use crate::raw::{flush, parse, query, run, run_unnamed, sync};
use crate::script::Script;
use crate::{cases, every_way};

#[test]
fn settings_follow_their_client() {
    every_way(cases![
        set_is_reported_and_stays,
        set_local_is_reported_and_ends_with_the_transaction,
        a_set_that_is_rolled_back_is_reported_back,
        reset_goes_back_to_the_login,
        reset_all_goes_back_to_the_login,
        set_to_default,
        discard_all_goes_back_to_the_login,
        set_config_is_seen,
        an_invalid_value_poisons_nothing,
        a_set_behind_a_failed_statement,
        set_in_the_extended_protocol,
        set_in_the_middle_of_a_pipeline,
        the_case_of_names_and_values,
        an_empty_application_name,
        the_encoding_of_the_client_may_change,
        standard_conforming_strings,
        several_settings_at_once,
        a_setting_to_the_value_that_it_has,
        set_local_outside_of_a_transaction_is_warned_of,
        set_session_within_a_transaction_outlives_it,
        set_within_a_savepoint,
        settings_of_a_function_end_with_it,
        set_time_zone_in_all_its_forms,
        set_names,
        set_transaction,
        set_constraints,
        values_that_need_quoting,
        settings_of_a_multi_statement_query_that_fails,
    ]);
}

fn set_is_reported_and_stays(s: &mut Script) {
    s.query("SET DateStyle = 'German'").query("SHOW DateStyle").query("SELECT '2003-02-01'::date");
    s.query("SET TimeZone = 'Europe/Berlin'").query("SET IntervalStyle = 'iso_8601'");
    s.query("SELECT '1 day 2 hours'::interval, '2003-02-01 UTC'::timestamptz")
        .query("SHOW DateStyle");
}

fn set_local_is_reported_and_ends_with_the_transaction(s: &mut Script) {
    s.query("BEGIN")
        .query("SET LOCAL DateStyle = 'German'")
        .query("SELECT '2003-02-01'::date")
        .query("COMMIT");
    s.query("SHOW DateStyle")
        .query("BEGIN; SET LOCAL TimeZone = 'CET'; SELECT 1; COMMIT")
        .query("SHOW TimeZone");
    s.query("SET LOCAL TimeZone = 'CET'; SHOW TimeZone").query("SHOW TimeZone");
}

fn a_set_that_is_rolled_back_is_reported_back(s: &mut Script) {
    s.query("BEGIN").query("SET DateStyle = 'German'").query("ROLLBACK").query("SHOW DateStyle");
    s.query("SET DateStyle = 'SQL'")
        .query("BEGIN")
        .query("SET DateStyle = 'German'")
        .query("SELECT 1/0");
    s.query("COMMIT").query("SHOW DateStyle");
}

fn reset_goes_back_to_the_login(s: &mut Script) {
    s.log_in(&[("TimeZone", "CET")])
        .query("SET TimeZone = 'EET'")
        .query("SHOW TimeZone")
        .query("RESET TimeZone");
    s.query("SHOW TimeZone")
        .query("SET TIME ZONE 'EET'")
        .query("RESET TIME ZONE")
        .query("SHOW TimeZone");
    s.query("SET DateStyle = 'German'").query("RESET DateStyle").query("SHOW DateStyle");
}

fn reset_all_goes_back_to_the_login(s: &mut Script) {
    s.log_in(&[("TimeZone", "CET"), ("application_name", "mine")]);
    s.query("SET TimeZone = 'EET'; SET DateStyle = 'German'")
        .query("SET application_name = 'other'");
    s.query("RESET ALL")
        .query("SHOW TimeZone")
        .query("SHOW DateStyle")
        .query("SHOW application_name");
}

fn set_to_default(s: &mut Script) {
    s.log_in(&[("TimeZone", "CET")])
        .query("SET TimeZone = 'EET'")
        .query("SET TimeZone TO DEFAULT")
        .query("SHOW TimeZone");
    s.query("SET TimeZone = 'EET'").query("SET TIME ZONE DEFAULT").query("SHOW TimeZone");
}

fn discard_all_goes_back_to_the_login(s: &mut Script) {
    s.log_in(&[("DateStyle", "SQL, DMY"), ("extra_float_digits", "-3")]);
    s.query("SET DateStyle = 'German'")
        .query("DISCARD ALL")
        .query("SHOW DateStyle")
        .query("SHOW extra_float_digits");
}

fn set_config_is_seen(s: &mut Script) {
    s.query("SELECT set_config('DateStyle', 'German', false)").query("SHOW DateStyle");
    s.query("BEGIN")
        .query("SELECT set_config('TimeZone', 'CET', true)")
        .query("COMMIT")
        .query("SHOW TimeZone");
    s.query("DO $$ BEGIN PERFORM set_config('TimeZone', 'EET', false); END $$")
        .query("SHOW TimeZone");
}

fn an_invalid_value_poisons_nothing(s: &mut Script) {
    s.query("SET TimeZone = 'Mars/Olympus'").query("SELECT 1").query("SHOW TimeZone");
    s.query("SET no_such_setting = 1").query("SET client_encoding = 'klingon'").query("SELECT 2");
}

fn a_set_behind_a_failed_statement(s: &mut Script) {
    s.query("SELECT 1/0; SET DateStyle = 'German'").query("SHOW DateStyle");
    s.query("SET DateStyle = 'German'; SELECT 1/0").query("SHOW DateStyle");
}

fn set_in_the_extended_protocol(s: &mut Script) {
    s.say(&[
        run_unnamed("SET DateStyle = 'German'", &[]),
        run_unnamed("SHOW DateStyle", &[]),
        sync(),
    ]);
    s.say(&[parse("s", "SET TimeZone = 'CET'"), parse("r", "RESET TimeZone"), sync()]);
    s.say(&[run("s", &[]), sync()])
        .say(&[run_unnamed("SHOW TimeZone", &[]), sync()])
        .say(&[run("r", &[]), sync()]);
    s.send(&[run("s", &[]), flush()])
        .until(b'C', 1)
        .say(&[sync()])
        .query("SHOW TimeZone")
        .query("SHOW DateStyle");
}

fn set_in_the_middle_of_a_pipeline(s: &mut Script) {
    let show = [run_unnamed("SHOW TimeZone", &[]), sync()].concat();
    s.send(&[
        show.clone(),
        query("SET TimeZone = 'CET'"),
        show.clone(),
        query("SET TimeZone = 'EET'"),
        show,
    ]);
    s.ready(5).query("SHOW TimeZone");
}

fn the_case_of_names_and_values(s: &mut Script) {
    s.query("SET datestyle = german")
        .query("SET DATESTYLE = 'iso'")
        .query("SET \"TimeZone\" = 'utc'");
    s.query("SET timezone = 'europe/berlin'")
        .query("SHOW TimeZone")
        .query("SET intervalstyle = SQL_STANDARD");
    s.query("SHOW IntervalStyle")
        .query("SET client_encoding = 'latin-1'")
        .query("SHOW client_encoding");
}

fn an_empty_application_name(s: &mut Script) {
    s.log_in(&[("application_name", "")])
        .query("SHOW application_name")
        .query("SET application_name = 'x'");
    s.query("SET application_name = ''")
        .query("SHOW application_name")
        .query("SET application_name = 'ü'");
    s.query("SHOW application_name");
}

fn the_encoding_of_the_client_may_change(s: &mut Script) {
    s.query("SET client_encoding = 'LATIN1'").query("SELECT chr(252)").query("SELECT chr(19990)");
    s.query("SET client_encoding = 'SJIS'")
        .query("SELECT chr(19990)")
        .query("RESET client_encoding")
        .query("SELECT chr(252)");
}

fn standard_conforming_strings(s: &mut Script) {
    s.query(r"SET standard_conforming_strings = off")
        .query(r"SELECT 'a\\b'")
        .query(r"SELECT '\'' || 'x'");
    s.say(&[run_unnamed(r"SELECT 'a\\b'", &[]), sync()])
        .query("SET standard_conforming_strings = on");
    s.query(r"SELECT 'a\\b'");
}

fn several_settings_at_once(s: &mut Script) {
    s.query("SET TimeZone = 'CET'; SET DateStyle = 'German'; SET application_name = 'several'");
    s.query("SELECT '2003-02-01 UTC'::timestamptz, current_setting('application_name')");
    s.query("BEGIN; SET TimeZone = 'EET'; SET DateStyle = 'SQL'")
        .query("ROLLBACK")
        .query("SHOW TimeZone");
}

fn a_setting_to_the_value_that_it_has(s: &mut Script) {
    s.query("SET TimeZone = 'CET'")
        .query("SET TimeZone = 'CET'")
        .query("SET DateStyle = 'ISO, MDY'");
    s.query("SET TimeZone = 'EET'; SET TimeZone = 'CET'").query("SHOW TimeZone");
}

fn set_local_outside_of_a_transaction_is_warned_of(s: &mut Script) {
    s.query("SET LOCAL DateStyle = 'German'").query("SHOW DateStyle");
}

fn set_session_within_a_transaction_outlives_it(s: &mut Script) {
    s.query("BEGIN")
        .query("SET SESSION DateStyle = 'German'")
        .query("SET LOCAL DateStyle = 'SQL'")
        .query("COMMIT");
    s.query("SHOW DateStyle");
}

fn set_within_a_savepoint(s: &mut Script) {
    s.query("BEGIN")
        .query("SET TimeZone = 'CET'")
        .query("SAVEPOINT a")
        .query("SET TimeZone = 'EET'");
    s.query("ROLLBACK TO a").query("SHOW TimeZone").query("COMMIT").query("SHOW TimeZone");
}

fn settings_of_a_function_end_with_it(s: &mut Script) {
    s.before(
        "CREATE OR REPLACE FUNCTION dated() RETURNS text LANGUAGE sql SET DateStyle = 'German'
         AS $$ SELECT '2003-02-01'::date::text $$",
    );
    s.query("SELECT dated(), '2003-02-01'::date").query("SHOW DateStyle");
}

fn set_time_zone_in_all_its_forms(s: &mut Script) {
    s.query("SET TIME ZONE 'CET'")
        .query("SHOW TIME ZONE")
        .query("SET TIME ZONE -7")
        .query("SHOW TimeZone");
    s.query("SET TIME ZONE INTERVAL '+02:30' HOUR TO MINUTE")
        .query("SHOW TimeZone")
        .query("SELECT 1")
        .query("SHOW TimeZone");
}

fn set_names(s: &mut Script) {
    s.query("SET NAMES 'LATIN1'")
        .query("SHOW client_encoding")
        .query("SET NAMES DEFAULT")
        .query("SHOW client_encoding");
}

fn set_transaction(s: &mut Script) {
    s.query("BEGIN")
        .query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY")
        .query("COMMIT");
    s.query("SHOW transaction_isolation").query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE");
}

fn set_constraints(s: &mut Script) {
    s.query("BEGIN")
        .query("SET CONSTRAINTS ALL DEFERRED")
        .query("COMMIT")
        .query("SET CONSTRAINTS ALL IMMEDIATE");
}

fn values_that_need_quoting(s: &mut Script) {
    for name in ["it''s", r"back\slash", "E''x", "$$ tag", "a,b", " blank "] {
        s.query(&format!("SET application_name = '{name}'")).query("SHOW application_name");
    }
}

fn settings_of_a_multi_statement_query_that_fails(s: &mut Script) {
    s.query("SET TimeZone = 'CET'; SELECT 1; SELEC").query("SHOW TimeZone");
    s.query("SET TimeZone = 'CET'; COMMIT; SELECT 1/0").query("SHOW TimeZone");
}
