//! What pgmesh is compared with, started in front of a Postgres.

use testbed::{
    HaProxy, Interrupt, PgBouncer, PgBouncerOptions, Postgres, PostgresOptions, programs,
};

#[test]
fn the_application_is_served_through_each() {
    // Packages that only the bench needs.
    if ["pgbouncer", "haproxy"].into_iter().any(|program| programs::find(program).is_err()) {
        return;
    }
    let postgres = Postgres::start(PostgresOptions::default()).unwrap();
    let pgbouncer = PgBouncer::start(&postgres, &PgBouncerOptions::installed().unwrap()).unwrap();
    let haproxy = HaProxy::start(pgbouncer.port(), 100, Interrupt::default()).unwrap();
    let mut session = pgbouncer.app();
    session.database = PgBouncer::SESSION_DATABASE.to_owned();
    for login in [pgbouncer.app(), haproxy.app(), session] {
        let row = login.psql("SELECT current_user, current_database()").unwrap();
        assert_eq!(row, "app_user|app");
        let mut wrong = login;
        wrong.password.push('x');
        assert!(wrong.psql("SELECT 1").is_err());
    }
    assert!(pgbouncer.version().starts_with(|first: char| first.is_ascii_digit()));
}
