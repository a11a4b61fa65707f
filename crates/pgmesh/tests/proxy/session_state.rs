//! What pgmesh tells a client of its session's state.

use crate::clients::{Answer, Raw, parse, run_described, sync};
use crate::postgres;
use crate::proxy::Setup;

const SHOW: &str = "SHOW pgmesh.session";

/// The value of a row of this kind and name.
fn told(answer: &Answer, kind: &str, name: &str) -> Option<String> {
    assert_eq!(
        (answer.errors.as_slice(), answer.commands.as_slice()),
        (&[][..], &["SHOW".to_owned()][..])
    );
    let row = answer.rows.iter().find(|row| row[0] == kind && row[1] == name);
    row.map(|row| row[2].clone())
}

#[test]
fn a_client_is_told_what_is_kept_for_it_and_why() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 2\nreserve_size = 0").start();
    let mut client = Raw::log_in(&mesh.app());
    let fresh = client.query(SHOW);
    assert_eq!(fresh.status, 'I');
    assert_eq!(told(&fresh, "session", "pool_mode").unwrap(), "transaction");
    assert_eq!(told(&fresh, "session", "pinned").unwrap(), "no");
    assert_eq!(told(&fresh, "session", "server").unwrap(), "none");
    assert_eq!(told(&fresh, "session", "server_pid"), None);
    client.value("SET work_mem = '7MB'; SELECT 1");
    assert_eq!(told(&client.query(SHOW), "replay", "work_mem").unwrap(), "7168");
    client.value("CREATE TEMP TABLE mine (n int); SELECT 1");
    let pid = client.value("SELECT pg_backend_pid()");
    let mut batch = Vec::new();
    for name in ["", "named"] {
        parse(&mut batch, name, "show pgmesh.session;");
        run_described(&mut batch, name, &[]);
        sync(&mut batch);
        client.send(&std::mem::take(&mut batch));
        let pinned = client.answer();
        assert_eq!(told(&pinned, "session", "pinned").unwrap(), "yes");
        assert!(told(&pinned, "pin", "temporary_objects").is_some());
        assert_eq!(told(&pinned, "session", "server_pid").unwrap(), pid);
    }
    client.value("DROP TABLE mine; SELECT 1");
    assert_eq!(told(&client.query(SHOW), "session", "server").unwrap(), "none");
    assert_eq!(client.query("BEGIN").status, 'T');
    let inside = client.query(SHOW);
    assert_eq!((told(&inside, "session", "pinned").unwrap().as_str(), inside.status), ("no", 'T'));
    client.query("SELECT 1/0");
    assert_eq!(client.query(SHOW).errors[0].code, "25P02");
    assert_eq!(client.query("ROLLBACK").status, 'I');
}

#[test]
fn a_driver_reads_it_as_any_result() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let login = mesh.app();
    runtime.block_on(async {
        let connected = tokio_postgres::connect(&login.uri(), tokio_postgres::NoTls).await;
        let (mut client, connection) = connected.unwrap();
        tokio::spawn(connection);
        let statement = client.prepare(SHOW).await.unwrap();
        let names: Vec<_> = statement.columns().iter().map(|column| column.name()).collect();
        assert_eq!(names, ["kind", "name", "value"]);
        client.batch_execute("SET statement_timeout = '1h'").await.unwrap();
        let rows = client.query(&statement, &[]).await.unwrap();
        let timeout = rows.iter().find(|row| row.get::<_, &str>("name") == "statement_timeout");
        assert_eq!(timeout.unwrap().get::<_, &str>("value"), "3600000");
        let transaction = client.transaction().await.unwrap();
        let rows = transaction.query(&statement, &[]).await.unwrap();
        assert!(rows.iter().any(|row| row.get::<_, &str>("value") == "until the transaction ends"));
        transaction.commit().await.unwrap();
    });
}
