//! Roles that are not in `[[users]]`: who they are, and whether they may enter, is asked of the
//! database.

use std::thread;

use auth::{Secret, Verifier};
use testbed::{APP_USER, Login, Pgmesh, Postgres, Stop};
use wire::Version;

use crate::clients::{Raw, Told};
use crate::metrics::{eventually, sample, wait_for};
use crate::postgres;
use crate::proxy::Setup;

/// The role that looks others up, and may do nothing else.
const LOOKUP: &str = "
    CREATE ROLE lookup LOGIN PASSWORD 'lookup_password';
    GRANT SELECT ON pg_catalog.pg_authid TO lookup;";

const LOOKUPS: &str = "pgmesh_auth_query_lookups_total";

/// What is known at first is never asked again, unless something makes it doubtful.
const FOR_EVER: &str = "query_cache_lifetime = '1h'\nquery_cache_negative_lifetime = '1h'";

/// Nothing is known for longer than a moment.
const ALWAYS_ASKING: &str = "query_cache_lifetime = '0s'\nquery_cache_negative_lifetime = '0s'";

/// A Postgres with a role that looks up.
fn with_lookup(sql: &str) -> Postgres {
    let postgres = postgres();
    postgres.psql(LOOKUP).unwrap();
    postgres.psql(sql).unwrap();
    postgres
}

/// Nobody in the file, and somebody who looks up.
fn before(postgres: &Postgres, keys: &str) -> Setup {
    let user = "query_user = 'lookup'\nquery_password = 'lookup_password'";
    Setup::before(postgres).without_users().with("auth", user).with("auth", keys)
}

fn role(mesh: &Pgmesh, user: &str, password: &str) -> Login {
    Login { user: user.to_owned(), password: password.to_owned(), ..mesh.app() }
}

/// What somebody is told who is not let in.
fn refusal(login: &Login) -> Told {
    Raw::log_in_with(login, Version::V3_0, &[]).unwrap_err()
}

fn is_let_in(login: &Login) -> bool {
    Raw::log_in_with(login, Version::V3_0, &[]).is_ok()
}

/// So that a new login to the server is needed.
fn close_servers(postgres: &Postgres) {
    let sql = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
               WHERE usename = 'app_user'";
    postgres.psql(sql).unwrap();
}

#[test]
fn a_role_that_is_not_in_the_file_logs_in_and_nobody_learns_who_there_is() {
    let postgres = with_lookup(
        "CREATE ROLE bare LOGIN; CREATE ROLE nologin PASSWORD 'x';
         CREATE ROLE late LOGIN PASSWORD 'x' VALID UNTIL '2001-01-01';
         SET password_encryption = md5; CREATE ROLE old LOGIN PASSWORD 'x';",
    );
    let mesh = before(&postgres, "").start();
    assert_eq!(mesh.app().psql("SELECT current_user").unwrap(), APP_USER.user);
    let wrong = refusal(&role(&mesh, APP_USER.user, "wrong"));
    assert_eq!((wrong.code.as_str(), wrong.severity.as_str()), ("28P01", "FATAL"));
    let logs = [
        ("bare", "the role has no password"),
        ("late", "the role's password has expired"),
        ("old", "the role's password is an md5 hash"),
        ("nologin", "no such role"),
        ("nobody", "no such role"),
    ];
    for (user, log) in logs {
        let told = refusal(&role(&mesh, user, "x"));
        assert_eq!(told.message, wrong.message.replace(APP_USER.user, user));
        assert_eq!((&told.code, &told.severity), (&wrong.code, &wrong.severity));
        eventually(log, || mesh.log().contains(log));
    }
    wait_for(&mesh, "pgmesh_refusals_total", "reason=\"authentication\"", 6.0);
    wait_for(&mesh, LOOKUPS, "answer=\"asked\"", 6.0);
    wait_for(&mesh, "pgmesh_auth_query_cache_entries", "", 6.0);
    let verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app_user'";
    let verifier = postgres.psql(verifier).unwrap();
    for part in verifier.split(['$', ':']).filter(|part| part.len() > 8 && !part.contains("SHA")) {
        assert!(!mesh.log().contains(part), "{part}");
    }
}

#[test]
fn what_is_in_the_file_counts() {
    let postgres = with_lookup("SELECT");
    let keys = format!("server_password = \"{}\"", APP_USER.password);
    let mesh = before(&postgres, "").user(APP_USER.user, "of the file", &keys).start();
    assert_eq!(refusal(&mesh.app()).code, "28P01");
    let of_the_file = role(&mesh, APP_USER.user, "of the file");
    assert_eq!(of_the_file.psql("SELECT 1").unwrap(), "1");
    wait_for(&mesh, LOOKUPS, "", 0.0);
}

#[test]
fn a_role_that_is_created_a_moment_after_its_refusal_is_let_in() {
    let postgres = with_lookup("SELECT");
    let mesh = before(&postgres, FOR_EVER).start();
    let late = role(&mesh, "late", "late_password");
    assert_eq!(refusal(&late).code, "28P01");
    postgres.psql("CREATE ROLE late LOGIN PASSWORD 'late_password'").unwrap();
    eventually("a role", || is_let_in(&late));
    assert_eq!(late.psql("SELECT current_user").unwrap(), "late");
}

#[test]
fn a_password_that_is_changed_counts_for_clients_and_for_servers() {
    let postgres = with_lookup("SELECT");
    let mesh = before(&postgres, FOR_EVER).start();
    let mut before = Raw::log_in(&mesh.app());
    let first = before.value("SELECT pg_backend_pid()");
    postgres.psql("ALTER ROLE app_user PASSWORD 'changed'").unwrap();
    let changed = role(&mesh, APP_USER.user, "changed");
    eventually("the new password", || is_let_in(&changed));
    assert_eq!(refusal(&mesh.app()).code, "28P01");
    // Servers stay, as sessions do in Postgres; new ones take the new keys, whoever asks.
    assert_eq!(before.value("SELECT pg_backend_pid()"), first);
    close_servers(&postgres);
    assert_ne!(before.value("SELECT pg_backend_pid()"), first);
    assert_eq!(changed.psql("SELECT 1").unwrap(), "1");
}

#[test]
fn keys_that_a_server_refuses_make_the_role_doubtful() {
    let postgres = with_lookup("SELECT");
    let mesh = before(&postgres, FOR_EVER).start();
    let mut before = Raw::log_in(&mesh.app());
    assert_eq!(before.value("SELECT 1"), "1");
    postgres.psql("ALTER ROLE app_user PASSWORD 'changed'").unwrap();
    assert!(is_let_in(&mesh.app()), "by what is known");
    close_servers(&postgres);
    // The server has another salt by now, for which the keys are no answer.
    assert_eq!(before.query("SELECT 1").errors[0].code, "08001");
    // Nobody has failed to log in to pgmesh itself.
    eventually("the old password is refused", || !is_let_in(&mesh.app()));
    assert!(is_let_in(&role(&mesh, APP_USER.user, "changed")));
    assert_eq!(before.value("SELECT 1"), "1");
}

#[test]
fn somebody_who_may_not_look_up_lets_nobody_in_and_tells_nothing() {
    let postgres = with_lookup("REVOKE ALL ON pg_catalog.pg_authid FROM lookup");
    let mesh = before(&postgres, "").start();
    let told = refusal(&mesh.app());
    assert_eq!((told.code.as_str(), told.severity.as_str()), ("57P03", "FATAL"));
    assert_eq!(refusal(&role(&mesh, "nobody", "x")), told);
    for word in [APP_USER.user, "lookup", "pg_authid", "permission", "role"] {
        assert!(!told.message.contains(word), "{told:?}");
    }
    assert!(mesh.log().contains("permission denied for table pg_authid"), "{}", mesh.log());
    wait_for(&mesh, "pgmesh_refusals_total", "reason=\"lookup\"", 2.0);
    wait_for(&mesh, "pgmesh_auth_query_failures_total", "", 2.0);
    // Nothing of it is kept.
    postgres.psql("GRANT SELECT ON pg_catalog.pg_authid TO lookup").unwrap();
    assert_eq!(mesh.app().psql("SELECT 1").unwrap(), "1");
}

#[test]
fn two_hundred_logins_at_once_are_one_question() {
    const CLIENTS: usize = 200;
    let cheap = Verifier::derive(&Secret::new(APP_USER.password), b"salt", 1).format();
    let cheap = format!("ALTER ROLE app_user PASSWORD '{}'", cheap.expose());
    let postgres = with_lookup(&cheap);
    let mesh = before(&postgres, "").start();
    let login = mesh.app();
    thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| Raw::log_in(&login).value("SELECT 1"))).collect();
        for client in clients {
            assert_eq!(client.join().unwrap(), "1");
        }
    });
    wait_for(&mesh, LOOKUPS, "answer=\"asked\"", 1.0);
    wait_for(&mesh, LOOKUPS, "", 200.0);
    wait_for(&mesh, "pgmesh_logins_total", "", 200.0);
    assert!(sample(&mesh, "pgmesh_auth_query_seconds_total", "") > 0.0);
}

#[test]
fn verifiers_of_any_shape_open_servers() {
    let postgres = with_lookup("SELECT");
    let mesh = before(&postgres, "").start();
    for (user, salt, iterations) in
        [("usual", &[1; 16][..], 4096), ("long", &[2; 64][..], 4096), ("slow", &[3; 16], 100_000)]
    {
        let verifier = Verifier::derive(&Secret::new(user), salt, iterations).format();
        let sql = format!("CREATE ROLE {user} LOGIN PASSWORD '{}'", verifier.expose());
        postgres.psql(&sql).unwrap();
        assert_eq!(role(&mesh, user, user).psql("SELECT current_user").unwrap(), user);
        assert_eq!(refusal(&role(&mesh, user, "wrong")).code, "28P01");
    }
}

const ROLES: &str = "
    CREATE ROLE staff; CREATE ROLE team IN ROLE staff; CREATE ROLE banned;
    CREATE ROLE direct LOGIN PASSWORD 'x' IN ROLE staff;
    CREATE ROLE through LOGIN PASSWORD 'x' IN ROLE team NOINHERIT;
    CREATE ROLE outside LOGIN PASSWORD 'x';
    CREATE ROLE super LOGIN PASSWORD 'x' SUPERUSER;
    CREATE ROLE expelled LOGIN PASSWORD 'x' IN ROLE staff, banned;
    CREATE ROLE listed LOGIN PASSWORD 'x' IN ROLE banned;
    CREATE ROLE app IN ROLE team; GRANT app TO direct;";

#[test]
fn a_rule_for_a_group_is_for_its_members() {
    let postgres = with_lookup(ROLES);
    let rules = "
        [[hba]]\ntype = 'host'\nuser = '+banned'\nmethod = 'reject'
        [[hba]]\ntype = 'host'\ndatabase = 'samerole'\nmethod = 'scram-sha-256'
        [[hba]]\ntype = 'host'\ndatabase = 'postgres'\nuser = ['+staff', 'outside']
        method = 'scram-sha-256'";
    // In the file or not, the groups are the database's.
    let mesh = before(&postgres, "").user("listed", "x", rules).start();
    let at = |user: &str, database: &str| Login {
        database: database.to_owned(),
        ..role(&mesh, user, "x")
    };
    for (user, database) in [
        ("direct", "app"),
        ("direct", "postgres"),
        ("through", "postgres"),
        ("outside", "postgres"),
    ] {
        assert_eq!(at(user, database).psql("SELECT current_user").unwrap(), user, "{database}");
    }
    for (user, database, what) in [
        ("through", "app", "no pg_hba.conf entry"),
        ("outside", "app", "no pg_hba.conf entry"),
        ("super", "app", "no pg_hba.conf entry"),
        ("super", "postgres", "no pg_hba.conf entry"),
        ("nobody", "postgres", "no pg_hba.conf entry"),
        ("expelled", "postgres", "pg_hba.conf rejects connection"),
        ("listed", "postgres", "pg_hba.conf rejects connection"),
    ] {
        let told = refusal(&at(user, database));
        assert!(told.code == "28000" && told.message.contains(what), "{user}: {told:?}");
    }
}

#[test]
fn who_was_let_in_before_is_let_in_while_the_server_is_away() {
    let mut postgres = with_lookup("CREATE ROLE unseen LOGIN PASSWORD 'x'");
    let mesh = before(&postgres, &format!("query_timeout = '2s'\n{ALWAYS_ASKING}")).start();
    assert_eq!(Raw::log_in(&mesh.app()).value("SELECT 1"), "1");
    postgres.stop(Stop::Crash).unwrap();
    let mut waits = Raw::log_in(&mesh.app());
    assert!(sample(&mesh, LOOKUPS, "answer=\"stale\"") >= 1.0);
    assert_eq!(refusal(&role(&mesh, APP_USER.user, "wrong")).code, "28P01");
    assert_eq!(refusal(&role(&mesh, "unseen", "x")).code, "57P03");
    waits.ask("SELECT 2");
    postgres.restart().unwrap();
    assert_eq!(waits.answer().rows, [["2"]]);
    eventually("the unseen", || is_let_in(&role(&mesh, "unseen", "x")));
}

#[test]
fn what_is_known_of_a_role_that_has_gone_lets_nobody_in() {
    let postgres = with_lookup("CREATE ROLE guest LOGIN PASSWORD 'x'");
    let rules = "
        [[hba]]\ntype = 'host'\ndatabase = 'app'\nmethod = 'scram-sha-256'
        [[hba]]\ntype = 'host'\nmethod = 'trust'";
    let mesh = before(&postgres, ALWAYS_ASKING).user("somebody", "x", rules).start();
    let trusted = Login { database: "postgres".to_owned(), ..role(&mesh, "guest", "") };
    let no_password = "pgmesh has no password to log in to the server as role \"guest\"";
    let refused = trusted.psql("SELECT 1").unwrap_err().to_string();
    assert!(refused.contains(no_password), "{refused}");
    // With what a login has disclosed the servers can be logged in to.
    assert_eq!(role(&mesh, "guest", "x").psql("SELECT 1").unwrap(), "1");
    assert_eq!(trusted.psql("SELECT current_user").unwrap(), "guest");
    postgres.psql("ALTER ROLE guest NOLOGIN").unwrap();
    for _ in 0..2 {
        let refused = trusted.psql("SELECT 1").unwrap_err().to_string();
        assert!(refused.contains(no_password), "{refused}");
    }
}
