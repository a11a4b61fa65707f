//! Looking roles up in a real Postgres: what is found, who cannot interfere, and what is left
//! when the primary goes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth::Secret;
use control::auth_query::{
    AuthQuery, CacheConfig, Config, Found, Groups, LookupError, Role, RolePassword,
};
use testbed::{APP_USER, Postgres, PostgresOptions, Stop};
use tokio::sync::watch;
use topology::{
    Address, Authority, Change, Event, Machine, Member, NodeName, NodeState, Now, Proof, Replay,
    Revision, Snapshot,
};
use transport::Connector;

/// The role that looks others up, and may do nothing else.
const QUERY_USER: &str = "
    CREATE ROLE lookup LOGIN PASSWORD 'lookup_password';
    GRANT SELECT ON pg_catalog.pg_authid TO lookup;";

/// Snapshots of nodes that the test names.
struct Cluster {
    machine: Machine,
    snapshots: watch::Sender<Arc<Snapshot>>,
    revision: u64,
}

impl Cluster {
    fn of(nodes: &[(&str, &Postgres)]) -> Self {
        let rules = topology::Config { proof: Proof::ByLogin, ..topology::Config::default() };
        let machine = Machine::new(Authority::LeaderKey, rules);
        let (snapshots, _) = watch::channel(Arc::clone(machine.snapshot()));
        let mut cluster = Self { machine, snapshots, revision: 0 };
        for (name, postgres) in nodes {
            let member = Member {
                address: Address::new("127.0.0.1", postgres.port()).expect("an address"),
                role: topology::Role::Replica,
                state: NodeState::Running,
                timeline: None,
                replay: Replay::Unknown,
                noloadbalance: false,
                nofailover: false,
            };
            cluster.change(Change::Member(node(name), Some(member)));
        }
        cluster
    }

    fn led_by(postgres: &Postgres) -> Self {
        let mut cluster = Self::of(&[("n1", postgres)]);
        cluster.leader(Some("n1"));
        cluster
    }

    fn leader(&mut self, name: Option<&str>) {
        self.change(Change::Leader(name.map(node)));
    }

    fn change(&mut self, change: Change) {
        self.revision += 1;
        let event = Event::Change { revision: Revision(self.revision), change };
        let now = Now { monotonic: Duration::from_secs(self.revision), wall: SystemTime::now() };
        if let Some(snapshot) = self.machine.apply(event, now) {
            self.snapshots.send_replace(snapshot);
        }
    }

    fn asked(&self, config: Config) -> AuthQuery {
        AuthQuery::new(config, Connector::disabled(), self.snapshots.subscribe())
    }
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).expect("a name")
}

fn config() -> Config {
    // Long enough for a busy machine.
    let timeout = Duration::from_secs(60);
    let config = Config::new("lookup", Some(Secret::new("lookup_password")));
    Config { groups: Groups::Fetch, timeout, ..config }
}

/// Every look-up asks, and has an older answer to fall back to.
fn always_asking() -> Config {
    let cache = CacheConfig { lifetime: Duration::ZERO, ..CacheConfig::default() };
    Config { cache, ..config() }
}

fn postgres(sql: &str) -> Postgres {
    let postgres = Postgres::start(PostgresOptions::default()).expect("Postgres starts");
    postgres.psql(QUERY_USER).expect("a role");
    postgres.psql(sql).expect("set up");
    postgres
}

async fn role(auth_query: &AuthQuery, user: &str) -> Arc<Role> {
    match auth_query.lookup(user).await.expect("an answer") {
        Found::Role(role) => role,
        Found::Absent => panic!("{user} is absent"),
    }
}

/// The verifier as `pg_authid` has it.
async fn verifier(auth_query: &AuthQuery, user: &str) -> String {
    match &role(auth_query, user).await.password {
        RolePassword::Verifier(verifier) => verifier.format().expose().to_owned(),
        other => panic!("{user}: {other:?}"),
    }
}

fn stored(postgres: &Postgres, user: &str) -> String {
    let sql = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'");
    postgres.psql(&sql).expect("psql answers").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_found_with_its_verifier_its_groups_and_its_end() {
    let postgres = postgres(
        "CREATE ROLE inner_group; CREATE ROLE outer_group; CREATE ROLE \"Odd ' \"\"group\";
         GRANT outer_group TO inner_group;
         GRANT inner_group, \"Odd ' \"\"group\" TO app_user;
         CREATE ROLE admin LOGIN SUPERUSER PASSWORD 'p' VALID UNTIL 'infinity';
         CREATE ROLE later LOGIN PASSWORD 'p' VALID UNTIL '2999-01-01';
         CREATE ROLE before LOGIN PASSWORD 'p' VALID UNTIL '2001-01-01' IN ROLE outer_group;
         CREATE ROLE never LOGIN PASSWORD 'p' VALID UNTIL '-infinity';
         CREATE ROLE bare LOGIN; CREATE ROLE \"Zoë's \"\"role\" LOGIN PASSWORD 'p';
         SET password_encryption = md5; CREATE ROLE old LOGIN PASSWORD 'p';",
    );
    let auth_query = Cluster::led_by(&postgres).asked(config());

    for user in [APP_USER.user, "later", "admin"] {
        assert_eq!(verifier(&auth_query, user).await, stored(&postgres, user));
    }
    verifier(&auth_query, "Zoë's \"role").await;
    let app = role(&auth_query, APP_USER.user).await;
    assert_eq!(*app.groups, ["Odd ' \"group", "app_user", "inner_group", "outer_group"]);
    assert!(app.is_member("outer_group") && !app.is_member("admin"));
    assert_eq!(app.valid_until, None);
    assert_eq!(*role(&auth_query, "admin").await.groups, ["admin"], "superusers are in no group");
    assert!(role(&auth_query, "later").await.valid_until.is_some());
    for user in ["before", "never"] {
        assert!(matches!(role(&auth_query, user).await.password, RolePassword::Expired), "{user}");
    }
    assert!(role(&auth_query, "before").await.is_member("outer_group"));
    assert!(matches!(role(&auth_query, "old").await.password, RolePassword::Md5));
    assert!(matches!(role(&auth_query, "bare").await.password, RolePassword::Missing));

    let injection = "x' OR rolname = 'app_user' --";
    for absent in ["nobody", "inner_group", "APP_USER", "app_user ", "%", "$1", injection] {
        let found = auth_query.lookup(absent).await.unwrap();
        assert!(matches!(found, Found::Absent), "{absent}: {found:?}");
    }
    let before = auth_query.stats().questions;
    for absent in [String::new(), "x".repeat(64)] {
        assert!(matches!(auth_query.lookup(&absent).await, Ok(Found::Absent)));
    }
    assert_eq!(auth_query.stats().questions, before, "no role has such a name");
}

/// Everything that whoever owns a database can put in the way of a query in it.
const TRAPS: &str = "
    CREATE FUNCTION public.sprung() RETURNS int LANGUAGE plpgsql AS
        $$BEGIN RAISE EXCEPTION 'the trap is sprung'; END$$;
    CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql AS
        'SELECT pg_catalog.now() FROM (SELECT public.sprung() OFFSET 0) AS trap';
    CREATE FUNCTION public.eq(name, name) RETURNS bool LANGUAGE sql AS 'SELECT public.sprung() = 1';
    CREATE FUNCTION public.eq(name, text) RETURNS bool LANGUAGE sql AS 'SELECT public.sprung() = 1';
    CREATE FUNCTION public.eq(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT public.sprung() = 1';
    CREATE FUNCTION public.lt(timestamptz, timestamptz) RETURNS bool LANGUAGE sql
        AS 'SELECT public.sprung() = 1';
    CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = name, FUNCTION = public.eq);
    CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = public.eq);
    CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = public.eq);
    CREATE OPERATOR public.< (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = public.lt);
    CREATE VIEW public.pg_authid AS SELECT 'app_user'::name AS rolname, 'SCRAM-SHA-256$'
        AS rolpassword, NULL::timestamptz AS rolvaliduntil, true AS rolcanlogin;
    CREATE VIEW public.pg_roles AS SELECT 1::oid AS oid, 'stolen'::name AS rolname;
    CREATE VIEW public.pg_auth_members AS SELECT 1::oid AS member, 1::oid AS roleid;
    CREATE DOMAIN public.text AS pg_catalog.text CHECK (public.sprung() = 1);
    ALTER DATABASE trapped SET search_path = public, pg_catalog;
    ALTER DATABASE trapped SET role = app_user;
    ALTER DATABASE trapped SET statement_timeout = '1ms';
    ALTER DATABASE trapped SET row_security = off;";

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_the_database_cannot_interfere() {
    let postgres = postgres("GRANT app_user TO lookup");
    postgres.psql("CREATE DATABASE trapped OWNER app_user").unwrap();
    let mut owner = postgres.app();
    owner.database = "trapped".into();
    let mut superuser = postgres.superuser();
    superuser.database = "trapped".into();
    superuser.psql("GRANT SELECT ON pg_catalog.pg_authid TO lookup").unwrap();
    owner.psql(TRAPS).unwrap();

    let unqualified = "SET statement_timeout = 0; SELECT rolname FROM pg_roles, \
        (SELECT now()) AS n WHERE rolname = 'x'::name";
    let error = owner.psql(unqualified).unwrap_err().to_string();
    assert!(error.contains("the trap is sprung"), "the traps are set: {error}");

    let config = Config { database: "trapped".into(), ..config() };
    let auth_query = Cluster::led_by(&postgres).asked(config);
    assert_eq!(verifier(&auth_query, APP_USER.user).await, stored(&postgres, APP_USER.user));
    assert_eq!(*role(&auth_query, "lookup").await.groups, ["app_user", "lookup"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_documentation_tells_to_set_up_is_enough() {
    const DOCUMENT: &str = include_str!("../../../docs/configuration.md");
    let sql = DOCUMENT.split("```sql").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let postgres = Postgres::start(PostgresOptions::default()).expect("Postgres starts");
    postgres.psql(sql).unwrap();
    let cluster = Cluster::led_by(&postgres);
    let as_documented = Config {
        groups: Groups::Fetch,
        timeout: config().timeout,
        ..Config::new("pgmesh", Some(Secret::new("secret")))
    };
    let all = cluster.asked(as_documented.clone());
    assert_eq!(verifier(&all, "postgres").await, stored(&postgres, "postgres"));

    postgres.psql("REVOKE ALL ON pg_catalog.pg_authid FROM pgmesh").unwrap();
    let query = "SELECT name, verifier, valid_until FROM pgmesh.role($1)";
    assert!(DOCUMENT.contains(query));
    let ordinary = cluster.asked(Config { query: query.into(), ..as_documented });
    assert_eq!(verifier(&ordinary, APP_USER.user).await, stored(&postgres, APP_USER.user));
    assert!(matches!(ordinary.lookup("postgres").await, Ok(Found::Absent)));
}

/// Counts who asks, and takes its time.
const COUNTED: &str = "
    CREATE SEQUENCE public.asked;
    CREATE FUNCTION public.find(name) RETURNS TABLE (name name, verifier text)
        LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
        $$SELECT rolname, rolpassword FROM pg_authid,
            LATERAL (SELECT nextval('public.asked'), pg_sleep(0.3) OFFSET 0) AS slow
          WHERE rolname = $1$$;";

#[tokio::test(flavor = "multi_thread")]
async fn many_logins_of_one_role_are_one_query() {
    let postgres = postgres(COUNTED);
    let query = "SELECT name, verifier FROM public.find($1)".to_owned();
    let auth_query = Cluster::led_by(&postgres).asked(Config { query, ..config() });
    let asked = || postgres.psql("SELECT last_value FROM public.asked").unwrap().trim().to_owned();

    // Whoever asks first goes away at once, and the others are answered all the same.
    tokio::select! {
        biased;
        found = auth_query.lookup(APP_USER.user) => panic!("{found:?} at once"),
        () = std::future::ready(()) => {}
    }
    let logins: Vec<_> = (0..50)
        .map(|_| {
            let auth_query = auth_query.clone();
            tokio::spawn(async move { verifier(&auth_query, APP_USER.user).await })
        })
        .collect();
    for login in logins {
        assert_eq!(login.await.unwrap(), stored(&postgres, APP_USER.user));
    }
    assert_eq!(asked(), "1");
    let stats = auth_query.stats();
    assert_eq!((stats.questions, stats.joined + stats.hits, stats.failures), (1, 50, 0));
    verifier(&auth_query, APP_USER.user).await;
    assert_eq!((asked().as_str(), auth_query.stats().hits), ("1", stats.hits + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_primary_is_away_an_older_answer_does() {
    let mut postgres = postgres("SELECT");
    let mut cluster = Cluster::led_by(&postgres);
    let auth_query = cluster.asked(always_asking());
    let first = verifier(&auth_query, APP_USER.user).await;
    verifier(&auth_query, "lookup").await;
    assert_eq!(auth_query.stats().questions, 2);

    // Nobody has noticed yet.
    postgres.stop(Stop::Crash).unwrap();
    assert_eq!(verifier(&auth_query, APP_USER.user).await, first);
    assert_eq!((auth_query.stats().questions, auth_query.stats().stale), (3, 1));
    // From now on nobody is asked.
    cluster.leader(None);
    for _ in 0..3 {
        verifier(&auth_query, "lookup").await;
    }
    assert_eq!((auth_query.stats().questions, auth_query.stats().stale), (3, 4));
    // Somebody who was never seen waits until there is somebody to be asked.
    let unseen = tokio::spawn({
        let auth_query = auth_query.clone();
        async move { verifier(&auth_query, "postgres").await }
    });
    postgres.restart().unwrap();
    cluster.leader(Some("n1"));
    assert_eq!(unseen.await.unwrap(), stored(&postgres, "postgres"));

    postgres.psql("ALTER ROLE lookup PASSWORD 'lookup_password'").unwrap();
    assert_eq!(verifier(&auth_query, "lookup").await, stored(&postgres, "lookup"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_is_asked_on_new_connections() {
    let (old, new) = (postgres("SELECT"), postgres("SELECT"));
    let connections =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgmesh-auth'";
    let mut cluster = Cluster::of(&[("n1", &old), ("n2", &new)]);
    cluster.leader(Some("n1"));
    let auth_query = cluster.asked(always_asking());
    assert_eq!(verifier(&auth_query, APP_USER.user).await, stored(&old, APP_USER.user));
    assert_eq!(old.psql(connections).unwrap().trim(), "1");
    cluster.leader(Some("n2"));
    assert_eq!(verifier(&auth_query, APP_USER.user).await, stored(&new, APP_USER.user));
    let closed = testbed::until(
        "the old primary's connections end",
        Duration::from_secs(60),
        &testbed::Interrupt::default(),
        || Ok((old.psql(connections)?.trim() == "0").then_some(())),
    );
    closed.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_or_a_role_that_will_not_do_is_told_from_a_role_that_is_not_there() {
    let postgres = postgres("CREATE ROLE weak LOGIN PASSWORD 'p'");
    let cluster = Cluster::led_by(&postgres);
    let fault = async |config: Config| {
        let auth_query = cluster.asked(config);
        auth_query.lookup(APP_USER.user).await.expect_err("an error")
    };
    let misfits = [
        "SELECT 'app_user', 'x'",
        "SELECT $1::name, $2::text",
        "SELECT $1::text",
        "SELECT 1, $1::text",
        "SELECT $1::text, 1",
        "SELECT $1::text, 'x', 'tomorrow'",
        "SELECT 'somebody else', 'x' WHERE $1::text <> ''",
        "SELECT NULL::text, 'x' WHERE $1::text <> ''",
        "SELECT $1::text, 'x' FROM pg_catalog.generate_series(1, 1000000)",
    ];
    for query in misfits {
        let error = fault(Config { query: query.into(), ..config() }).await;
        assert!(matches!(error, LookupError::Misfit(_)), "{query}: {error:?}");
    }
    for query in ["SELECT $1::text, 1/0", "gibberish", "SELECT rolname, rolpassword FROM nowhere"] {
        let error = fault(Config { query: query.into(), ..config() }).await;
        assert!(matches!(error, LookupError::Refused(_)), "{query}: {error:?}");
    }
    let weak = |user: &str, password: &str| Config {
        user: user.into(),
        password: Some(Secret::new(password).into()),
        ..config()
    };
    for config in [weak("weak", "p"), weak("lookup", "wrong"), weak("nobody", "p")] {
        let error = fault(config).await;
        assert!(matches!(error, LookupError::Refused(_)), "{error:?}");
        assert!(!format!("{error:?}").contains("wrong"));
    }
    // None of it prints a secret.
    let printed = format!("{:?}", cluster.asked(config()));
    assert!(!printed.contains("lookup_password"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_our_password_is_changed_it_counts_with_the_one_before() {
    let postgres = postgres("SELECT 1");
    let zero = Duration::ZERO;
    let cache = CacheConfig { lifetime: zero, stale_lifetime: zero, ..CacheConfig::default() };
    let config = Config { cache, ..config() };
    let password = config.password.clone().unwrap();
    let cluster = Cluster::led_by(&postgres);
    let auth_query = cluster.asked(config);
    let log_in_anew = async || {
        let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
                   WHERE application_name = 'pgmesh-auth'";
        postgres.psql(end).unwrap();
        auth_query.lookup(APP_USER.user).await
    };
    log_in_anew().await.unwrap();
    password.rotate(Secret::new("next_password"));
    log_in_anew().await.expect("the role has the one before");
    postgres.psql("ALTER ROLE lookup PASSWORD 'next_password'").unwrap();
    log_in_anew().await.expect("the role has the newest");
    password.rotate(Secret::new("wrong_password"));
    password.settle();
    log_in_anew().await.expect_err("only the newest counts");
}
