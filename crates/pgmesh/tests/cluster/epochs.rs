//! Whoever holds the leader key gets the writes, and nobody else, however alive it is: two
//! servers that would both take them, and keys that the test writes as Patroni does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use testbed::{Etcd, Postgres, PostgresOptions, Stop, http};

use crate::clients::Raw;
use crate::metrics::{eventually, sample, wait_for, wait_for_waiters};
use crate::proxy::Setup;

const PORT: &str = "SELECT inet_server_port()";

/// An etcd with keys of a cluster named `split`.
struct Keys {
    etcd: Etcd,
}

impl Keys {
    fn put(&self, key: &str, value: &str) {
        let key = STANDARD.encode(format!("/service/split/{key}"));
        let request = json!({"key": key, "value": STANDARD.encode(value)});
        let answer = http::post(self.etcd.port(), "/v3/kv/put", &request).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    fn member(&self, name: &str, postgres: &Postgres, role: &str, timeline: u32) {
        let value = json!({
            "conn_url": format!("postgres://127.0.0.1:{}/postgres", postgres.port()),
            "state": "running",
            "role": role,
            "version": "3.0.2",
            "xlog_location": 50_332_040,
            "timeline": timeline,
        });
        self.put(&format!("members/{name}"), &value.to_string());
    }
}

#[test]
fn no_transaction_starts_on_a_server_of_an_older_epoch() {
    let keys = Keys { etcd: Etcd::start().unwrap() };
    let (mut first, mut second) = (postgres(), postgres());
    let [on_first, on_second] = [&first, &second].map(|postgres| postgres.port().to_string());
    keys.member("n1", &first, "master", 1);
    keys.member("n2", &second, "replica", 1);
    keys.put("leader", "n1");
    let mesh = Setup::before_keys(&keys.etcd, "/service/", "split").start();
    wait_for(&mesh, "pgmesh_leader", "node=\"n1\"", 1.0);

    let mut idle: Vec<Raw> = (0..3).map(|_| Raw::log_in(&mesh.app())).collect();
    for client in &mut idle {
        client.query("BEGIN");
    }
    for client in &mut idle {
        assert_eq!(client.value(PORT), on_first);
        client.query("COMMIT");
    }
    let mut busy = Raw::log_in(&mesh.app());
    busy.query("BEGIN");
    assert_eq!(busy.value(PORT), on_first);

    promote(&mut second);
    keys.put("leader", "n2");
    keys.member("n2", &second, "master", 2);
    wait_for(&mesh, "pgmesh_leader", "node=\"n2\"", 1.0);
    assert_eq!(sample(&mesh, "pgmesh_epoch", ""), 2.0);
    for client in &mut idle {
        assert_eq!(client.value(PORT), on_second);
    }
    // Whatever became of its transaction, the next one is on the new primary.
    busy.ask("ROLLBACK");
    if busy.whole_answer().is_some() {
        assert_eq!(busy.value(PORT), on_second);
    }
    let left = "SELECT count(*) FROM pg_stat_activity \
                WHERE usename = 'app_user' AND application_name <> 'pgmesh-probe'";
    eventually("no server of the old epoch", || first.psql(left).unwrap() == "0");
    assert!(sample(&mesh, "pgmesh_server_discards_total", "reason=\"epoch\"") >= 1.0);

    // A key that names somebody whose timeline is behind is not enough.
    keys.put("leader", "n1");
    wait_for(&mesh, "pgmesh_leader", "node=\"n2\"", 0.0);
    let client = &mut idle[0];
    client.ask(PORT);
    wait_for_waiters(&mesh, 1);
    let ready = mesh.http("/ready").unwrap();
    assert_eq!(ready.status, 503, "{}", ready.body);
    assert_eq!(first.psql(left).unwrap(), "0");
    promote(&mut first);
    promote(&mut first);
    keys.member("n1", &first, "master", 3);
    assert_eq!(client.answer().rows, [[on_first]]);
    assert_eq!(sample(&mesh, "pgmesh_epoch", ""), 3.0);
    assert_eq!(mesh.http("/ready").unwrap().status, 200);
}

#[test]
fn losing_etcd_stops_nothing() {
    let mut keys = Keys { etcd: Etcd::start().unwrap() };
    let mut postgres = postgres();
    keys.member("n1", &postgres, "master", 1);
    keys.put("leader", "n1");
    let mesh = Setup::before_keys(&keys.etcd, "/service/", "split").start();
    wait_for(&mesh, "pgmesh_leader", "node=\"n1\"", 1.0);
    let mut client = Raw::log_in(&mesh.app());
    keys.etcd.kill();
    for _ in 0..20 {
        assert_eq!(client.value("SELECT 1"), "1");
        assert_eq!(Raw::log_in(&mesh.app()).value("SELECT 2"), "2");
    }
    assert_eq!(mesh.http("/ready").unwrap().status, 200);
    keys.etcd.restart().unwrap();
    promote(&mut postgres);
    keys.member("n1", &postgres, "master", 2);
    // What is written from now on is seen again.
    wait_for(&mesh, "pgmesh_epoch", "", 2.0);
    assert_eq!(client.value("SELECT 1"), "1");
}

fn postgres() -> Postgres {
    Postgres::start(PostgresOptions::default()).unwrap()
}

/// Takes the server to the next timeline, for a record alone proves nothing.
fn promote(postgres: &mut Postgres) {
    postgres.stop(Stop::Fast).unwrap();
    std::fs::write(postgres.data().join("standby.signal"), "").unwrap();
    postgres.restart().unwrap();
    assert_eq!(postgres.psql("SELECT pg_promote()").unwrap(), "t");
}
