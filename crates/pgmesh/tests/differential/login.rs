//! Logins: what is reported, settings of the startup packet, and refusals.

use crate::raw::{packet, startup};
use crate::script::Script;
use crate::{cases, every_way};

#[test]
fn logins_are_answered_as_by_the_server() {
    every_way(cases![
        a_login_reports_every_setting,
        an_application_name,
        an_application_name_that_is_not_ascii,
        settings_in_the_startup_packet,
        settings_are_reported_as_the_server_writes_them,
        settings_that_the_server_has_anyway,
        settings_that_are_not_reported,
        settings_in_options,
        options_with_escaped_blanks,
        options_and_settings_together,
        an_encoding_of_the_client,
        an_unknown_setting_is_fatal,
        an_invalid_value_is_fatal,
        an_invalid_time_zone_is_fatal,
        an_invalid_encoding_is_fatal,
        a_setting_that_only_a_restart_changes_is_fatal,
        a_setting_that_only_a_superuser_changes_is_fatal,
        a_custom_setting,
        an_unknown_database_is_fatal,
        a_login_without_a_user_is_fatal,
        a_login_without_a_database_means_that_of_the_user,
        a_startup_packet_without_terminator_is_refused,
        a_startup_packet_with_bytes_behind_its_terminator_is_refused,
        a_startup_packet_that_is_too_short_is_refused,
        a_startup_packet_of_negative_length_is_refused,
        a_startup_packet_over_ten_thousand_bytes_is_refused,
        a_login_behind_a_refused_one,
    ]);
}

fn a_login_reports_every_setting(s: &mut Script) {
    s.log_in(&[]).query("SELECT 1");
}

fn an_application_name(s: &mut Script) {
    s.log_in(&[("application_name", "my app")]).query("SHOW application_name");
    s.query("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()");
}

fn an_application_name_that_is_not_ascii(s: &mut Script) {
    s.log_in(&[("application_name", "Grüße \u{1}")]).query("SHOW application_name");
}

fn settings_in_the_startup_packet(s: &mut Script) {
    s.log_in(&[
        ("DateStyle", "SQL, DMY"),
        ("TimeZone", "Europe/Berlin"),
        ("client_encoding", "UTF8"),
    ]);
    s.query("SELECT '1.2.2003 UTC'::timestamptz").query("SELECT 1").query("SHOW TimeZone");
}

fn settings_are_reported_as_the_server_writes_them(s: &mut Script) {
    s.log_in(&[("datestyle", "german"), ("timezone", "utc"), ("CLIENT_ENCODING", "unicode")]);
    s.query("SHOW DateStyle").query("SHOW TimeZone").query("SHOW client_encoding");
    s.query("RESET ALL").query("SHOW DateStyle");
}

fn settings_that_the_server_has_anyway(s: &mut Script) {
    s.log_in(&[("DateStyle", "ISO, MDY"), ("TimeZone", "GMT")]).query("SHOW DateStyle");
}

fn settings_that_are_not_reported(s: &mut Script) {
    s.log_in(&[
        ("extra_float_digits", "-3"),
        ("search_path", "a, \"B c\""),
        ("statement_timeout", "77s"),
    ]);
    s.query("SELECT 1/3::float8").query("SHOW search_path").query("SHOW statement_timeout");
    s.query("SHOW extra_float_digits");
}

fn settings_in_options(s: &mut Script) {
    s.log_in(&[("options", "-c geqo=off -cwork_mem=12MB --lock_timeout=5s -c DateStyle=German")]);
    s.query("SHOW geqo").query("SHOW work_mem").query("SHOW lock_timeout").query("SHOW DateStyle");
}

fn options_with_escaped_blanks(s: &mut Script) {
    s.log_in(&[("options", r"  -c  search_path=a\ b,\\c   --application-name=with\ blank ")]);
    s.query("SHOW search_path").query("SHOW application_name");
}

fn options_and_settings_together(s: &mut Script) {
    s.log_in(&[("options", "-c TimeZone=CET -c application_name=o"), ("TimeZone", "EET")]);
    s.query("SHOW TimeZone").query("SHOW application_name");
}

fn an_encoding_of_the_client(s: &mut Script) {
    s.log_in(&[("client_encoding", "LATIN1")]).query("SELECT chr(252), length('ü')");
    s.query("SELECT chr(19990)").query("SHOW client_encoding");
}

fn an_unknown_setting_is_fatal(s: &mut Script) {
    s.log_in(&[("no_such_setting", "1")]).closed();
}

fn an_invalid_value_is_fatal(s: &mut Script) {
    s.log_in(&[("statement_timeout", "soon")]).closed();
}

fn an_invalid_time_zone_is_fatal(s: &mut Script) {
    s.log_in(&[("TimeZone", "Mars/Olympus")]).closed();
}

fn an_invalid_encoding_is_fatal(s: &mut Script) {
    s.log_in(&[("client_encoding", "klingon")]).closed();
}

fn a_setting_that_only_a_restart_changes_is_fatal(s: &mut Script) {
    s.log_in(&[("max_connections", "3")]).closed();
}

fn a_setting_that_only_a_superuser_changes_is_fatal(s: &mut Script) {
    s.log_in(&[("log_statement", "all")]).closed();
}

fn a_custom_setting(s: &mut Script) {
    s.log_in(&[("my.setting", "it's")])
        .query("SHOW my.setting")
        .query("SELECT current_setting('my.setting')");
}

fn an_unknown_database_is_fatal(s: &mut Script) {
    s.open(startup(&[("user", "app_user"), ("database", "no such database")])).closed();
}

fn a_login_without_a_user_is_fatal(s: &mut Script) {
    s.open(startup(&[("database", "one")])).closed();
    s.open(startup(&[])).closed().open(startup(&[("user", "")])).closed();
}

fn a_login_without_a_database_means_that_of_the_user(s: &mut Script) {
    s.open(startup(&[("user", "app_user")])).closed();
}

fn a_startup_packet_without_terminator_is_refused(s: &mut Script) {
    s.open(packet(3 << 16, b"user\0app_user")).closed().open(packet(3 << 16, b"user\0")).closed();
}

fn a_startup_packet_with_bytes_behind_its_terminator_is_refused(s: &mut Script) {
    s.open(packet(3 << 16, b"user\0app_user\0\0more\0")).closed();
}

fn a_startup_packet_that_is_too_short_is_refused(s: &mut Script) {
    s.open(vec![0, 0, 0, 7, 0, 3, 0]).closed().open(vec![0, 0, 0, 0]).closed();
}

fn a_startup_packet_of_negative_length_is_refused(s: &mut Script) {
    s.open(vec![0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0]).closed();
}

fn a_startup_packet_over_ten_thousand_bytes_is_refused(s: &mut Script) {
    s.open(startup(&[("user", "app_user"), ("application_name", &"x".repeat(10_000))])).closed();
}

fn a_login_behind_a_refused_one(s: &mut Script) {
    s.log_in(&[("TimeZone", "Mars/Olympus")]).closed().log_in(&[]).query("SHOW TimeZone");
}
