//! Whoever holds the leader key gets the writes, and nobody else, however alive it is: two
//! servers that would both take them, and keys that the test writes as Patroni does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use testbed::{Etcd, Login, Port, Postgres, PostgresOptions, Stop, http};

use crate::clients::Raw;
use crate::metrics::{eventually, sample, wait_for, wait_for_waiters};
use crate::proxy::Setup;

const PORT: &str = "SELECT inet_server_port()";

/// An etcd with keys of a cluster named `split`.
pub(crate) struct Keys {
    pub(crate) etcd: Etcd,
}

impl Keys {
    pub(crate) fn put(&self, key: &str, value: &str) {
        let key = STANDARD.encode(format!("/service/split/{key}"));
        let request = json!({"key": key, "value": STANDARD.encode(value)});
        let answer = http::post(self.etcd.port(), "/v3/kv/put", &request).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    pub(crate) fn member(&self, name: &str, postgres: &Postgres, role: &str, timeline: u32) {
        self.tagged_member(name, postgres, role, timeline, json!({}));
    }

    fn tagged_member(
        &self,
        name: &str,
        postgres: &Postgres,
        role: &str,
        timeline: u32,
        tags: serde_json::Value,
    ) {
        let value = json!({
            "tags": tags,
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

#[test]
fn sessions_leave_a_replica_that_goes_out_of_service_unless_their_state_is_there() {
    let keys = Keys { etcd: Etcd::start().unwrap() };
    let (primary, mut first, mut second) = (postgres(), postgres(), postgres());
    for replica in [&mut first, &mut second] {
        stand_by(replica);
    }
    let [on_first, on_second] = [&first, &second].map(|postgres| postgres.port().to_string());
    keys.member("n1", &primary, "master", 1);
    keys.member("n2", &first, "replica", 1);
    keys.put("leader", "n1");
    let port = Port::reserve().unwrap();
    let mesh = Setup::before_keys(&keys.etcd, "/service/", "split")
        .with("proxy", &format!("replica_port = {port}"))
        .with("pool", "mode = \"session\"")
        .start();
    wait_for(&mesh, "pgmesh_leader", "node=\"n1\"", 1.0);
    let login = Login { port: port.number(), ..mesh.app() };
    let [mut plain, mut open, mut stateful] = [(); 3].map(|()| Raw::log_in(&login));
    assert_eq!(stateful.query("SET work_mem = '7MB'").commands, ["SET"]);
    open.query("BEGIN");
    for client in [&mut plain, &mut open, &mut stateful] {
        assert_eq!(client.value(PORT), on_first);
    }

    keys.member("n3", &second, "replica", 1);
    keys.tagged_member("n2", &first, "replica", 1, json!({"noloadbalance": true}));
    eventually("a session that has moved", || plain.value(PORT) == on_second);
    assert_eq!(open.value(PORT), on_first);
    open.query("COMMIT");
    assert_eq!(open.value(PORT), on_second);
    assert_eq!(stateful.value(PORT), on_first);
    assert_eq!(stateful.value("SHOW work_mem"), "7MB");
    // Nobody gets what they have left.
    assert_eq!(sample(&mesh, "pgmesh_server_discards_total", "reason=\"epoch\""), 2.0);
}

pub(crate) fn postgres() -> Postgres {
    Postgres::start(PostgresOptions::default()).unwrap()
}

/// Takes the server to the next timeline, for a record alone proves nothing.
pub(crate) fn promote(postgres: &mut Postgres) {
    stand_by(postgres);
    assert_eq!(postgres.psql("SELECT pg_promote()").unwrap(), "t");
}

fn stand_by(postgres: &mut Postgres) {
    postgres.stop(Stop::Fast).unwrap();
    std::fs::write(postgres.data().join("standby.signal"), "").unwrap();
    postgres.restart().unwrap();
}
