//! The programs that come with Postgres, and servers that are clients of others, through servers
//! that are shared.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testbed::{APP_DATABASE, APP_USER, Interrupt, Login, Pgmesh, Postgres, PostgresOptions};

use crate::clients::Raw;
use crate::postgres;
use crate::proxy::Setup;

/// Ends what hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// Something of everything that a dump has.
const CONTENT: &str = "
    CREATE SCHEMA shop;
    CREATE TYPE shop.state AS ENUM ('new', 'paid');
    CREATE TABLE shop.client (id serial PRIMARY KEY, name text UNIQUE, note text DEFAULT E'a\\tb');
    CREATE TABLE shop.sale (id bigint GENERATED ALWAYS AS IDENTITY, client int NOT NULL
        REFERENCES shop.client, state shop.state, price float8, at timestamptz) PARTITION BY HASH (id);
    CREATE TABLE shop.sale_0 PARTITION OF shop.sale FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE shop.sale_1 PARTITION OF shop.sale FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE INDEX ON shop.sale (client, at);
    CREATE FUNCTION shop.twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n';
    CREATE VIEW shop.paid AS SELECT * FROM shop.sale WHERE state = 'paid';
    INSERT INTO shop.client (name) SELECT 'client ' || n FROM generate_series(1, 500) n;
    INSERT INTO shop.sale (client, state, price, at) SELECT 1 + n % 500,
        CASE n % 2 WHEN 0 THEN 'new'::shop.state ELSE 'paid' END, n / 7.0::float8,
        timestamptz '2024-02-29 12:00+00' + n * interval '1 minute' FROM generate_series(1, 5000) n;
    CREATE MATERIALIZED VIEW shop.totals AS
        SELECT client, sum(price) FROM shop.paid GROUP BY client;
    SELECT lo_from_bytea(4711, decode(repeat('00ff', 5000), 'hex'));
    COMMENT ON TABLE shop.client IS 'who buys';
";

fn run(command: &mut Command) -> String {
    testbed::run(command, "", LIMIT, &Interrupt::default()).unwrap()
}

/// Runs a program in a thread of its own.
fn start(
    mut command: Command,
    input: String,
) -> std::thread::JoinHandle<Result<String, testbed::Error>> {
    std::thread::spawn(move || testbed::run(&mut command, &input, LIMIT, &Interrupt::default()))
}

/// What is in a database, as text. Each dump has a random key of its own in two lines.
fn content(login: &Login) -> String {
    let text = run(&mut login.command("pg_dump").unwrap());
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict "));
    lines.collect::<Vec<_>>().join("\n")
}

fn mesh_with(postgres: &Postgres, pool: &str) -> Pgmesh {
    Setup::before(postgres).with("pool", pool).start()
}

#[test]
fn a_dump_is_restored_by_several_jobs_through_fewer_servers() {
    let copies = ["custom", "directory"];
    let mut options = PostgresOptions::default();
    options.databases.extend(copies.map(|name| (name.to_owned(), APP_USER.user.to_owned())));
    let postgres = Postgres::start(options).unwrap();
    let mesh = mesh_with(&postgres, "size = 4\nreserve_size = 0");
    mesh.app().psql(CONTENT).unwrap();
    let original = content(&postgres.app());
    for name in copies {
        let file = mesh.directory().join(name);
        let mut dump = mesh.app().command("pg_dump").unwrap();
        dump.arg(format!("--format={name}")).arg("--file").arg(&file);
        if name == "directory" {
            // Each job has a transaction with the same snapshot.
            dump.arg("--jobs=2");
        }
        run(&mut dump);
        let copy = mesh.login(APP_USER, name);
        let mut restore = copy.command("pg_restore").unwrap();
        run(restore.args(["--exit-on-error", "--jobs=4", "--dbname", name]).arg(&file));
        let direct = Login::new(postgres.port(), APP_USER, name);
        assert!(content(&direct) == original, "{name}: the copy is not as the original");
        assert!(content(&copy) == original, "{name}: it looks otherwise through pgmesh");
    }
}

#[test]
fn each_psql_that_watches_has_its_own_settings() {
    let postgres = postgres();
    let mesh = mesh_with(&postgres, "size = 1\nreserve_size = 0");
    let watches = ["6MB", "7MB", "8MB"].map(|size| {
        let ticks = format!("ticks_{}", size.to_lowercase());
        mesh.app().psql(&format!("CREATE SEQUENCE {ticks}")).unwrap();
        let mut psql = mesh.app().command("psql").unwrap();
        psql.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        // The query fails in the tenth round, and so ends the watch.
        let script = format!(
            "SET work_mem = '{size}';\nSELECT current_setting('work_mem')\n\
             || left((1 / (10 - nextval('{ticks}')))::text, 0) \\watch 0.01\n"
        );
        (size, start(psql, script))
    });
    for (size, watch) in watches {
        let Err(testbed::Error::Command { output, .. }) = watch.join().unwrap() else {
            panic!("psql has not come to its last round")
        };
        assert!(output.contains("division by zero"), "{output}");
        let shown: Vec<&str> = output.lines().filter(|line| line.ends_with("MB")).collect();
        assert_eq!(shown, [size; 9], "{output}");
    }
}

#[test]
fn a_foreign_data_wrapper_reaches_tables_through_pgmesh() {
    let postgres = postgres();
    let mesh = mesh_with(&postgres, "size = 3\nreserve_size = 0");
    let login = Login::new(postgres.port(), testbed::SUPERUSER, APP_DATABASE);
    login
        .psql(&format!(
            "CREATE EXTENSION postgres_fdw;
             CREATE SERVER mesh FOREIGN DATA WRAPPER postgres_fdw
                 OPTIONS (host '127.0.0.1', port '{}', dbname '{APP_DATABASE}');
             GRANT USAGE ON FOREIGN SERVER mesh TO {user};
             CREATE USER MAPPING FOR {user} SERVER mesh OPTIONS (user '{user}', password '{}');",
            mesh.port(),
            APP_USER.password,
            user = APP_USER.user,
        ))
        .unwrap();
    let mut client = Raw::log_in(&mesh.app());
    let mut told = |sql: &str| client.query(sql);
    told("CREATE TABLE near (n int PRIMARY KEY, f float8, at timestamptz, d date)");
    told(
        "CREATE FOREIGN TABLE far (n int, f float8, at timestamptz, d date)
             SERVER mesh OPTIONS (table_name 'near')",
    );
    // The wrapper puts settings of its own on its session, none of which may reach this one.
    told("SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'; SET extra_float_digits = -5");
    told(
        "INSERT INTO far SELECT n, n / 3.0::float8, timestamptz '2024-02-29 12:00+00', \
         date '2024-02-29' FROM generate_series(1, 300) n",
    );
    let shown = "29.02.2024 21:00:00 JST|29.02.2024|0.3333333333";
    let show = |table: &str| format!("SELECT at || '|' || d || '|' || f FROM {table} WHERE n = 1");
    let mut value = |sql: &str| client.value(sql);
    assert_eq!(value(&show("near")), shown);
    assert_eq!(value(&show("far")), shown);
    assert_eq!(value("SELECT count(*) FROM near JOIN far USING (n, f, at, d)"), "300");
    client.query("BEGIN; UPDATE far SET f = 0 WHERE n % 2 = 0; SAVEPOINT s");
    client.query("DELETE FROM far; ROLLBACK TO s");
    assert_eq!(client.value("SELECT count(*) FROM far WHERE f = 0"), "150");
    // Written by the wrapper's transaction, which ends with this one.
    assert_eq!(client.value("SELECT count(*) FROM near WHERE f = 0"), "0");
    client.query("ROLLBACK");
    assert_eq!(client.value("SELECT count(*) FROM far WHERE f = 0"), "0");
}

/// Scripts of which a statement divides by zero if its client's state is not there, or another's.
const SCRIPTS: [(&str, &str); 5] = [
    (
        "settings",
        "\\set kb 1000 + :client_id\nSET work_mem = :kb;\n\
         SELECT 1 / (current_setting('work_mem') = :kb || 'kB')::int;\n\
         BEGIN;\nSET LOCAL work_mem = 2000;\nCOMMIT;\n\
         SELECT 1 / (current_setting('work_mem') = :kb || 'kB')::int;\n",
    ),
    (
        "temporary",
        "CREATE TEMP TABLE mine AS SELECT :client_id AS who;\n\
         SELECT 1 / (count(*) = 1 AND min(who) = :client_id)::int FROM mine;\nDROP TABLE mine;\n\
         SELECT 1 / (to_regclass('pg_temp.mine') IS NULL)::int;\n",
    ),
    (
        "locks",
        "SELECT pg_advisory_lock(:client_id);\n\
         SELECT 1 / (count(*) = 1)::int FROM pg_locks WHERE locktype = 'advisory'\n\
         AND objid = :client_id AND pid = pg_backend_pid();\n\
         SELECT 1 / pg_advisory_unlock(:client_id)::int;\n",
    ),
    (
        "listen",
        "LISTEN channel_:client_id;\nNOTIFY channel_:client_id;\n\
         SELECT 1 / (array_agg(c) = ARRAY['channel_:client_id'])::int FROM\n\
         pg_listening_channels() c;\nUNLISTEN *;\n\
         SELECT 1 / (count(*) = 0)::int FROM pg_listening_channels();\n",
    ),
    (
        "prepare",
        "PREPARE mine AS SELECT :client_id::int;\n\
         EXECUTE mine \\gset\nSELECT 1 / (:int4 = :client_id)::int;\nDEALLOCATE mine;\n",
    ),
];

#[test]
fn clients_of_pgbench_have_state_of_their_own() {
    let postgres = postgres();
    let mesh = mesh_with(&postgres, "size = 8\nreserve_size = 0");
    let directory = mesh.directory().to_owned();
    let file = |name: &str, script: &str| -> PathBuf {
        let path: PathBuf = Path::new(&directory).join(name);
        std::fs::write(&path, script).unwrap();
        path
    };
    let mut pgbench = mesh.app().command("pgbench").unwrap();
    // Fewer than servers: each may need to keep one.
    pgbench.args(["--no-vacuum", "--client=7", "--jobs=2", "--transactions=60"]);
    for (name, script) in SCRIPTS {
        pgbench.arg("--file").arg(file(name, script));
    }
    let printed = run(&mut pgbench);
    assert!(printed.contains("number of transactions actually processed: 420/420"), "{printed}");
}
