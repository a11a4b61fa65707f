//! A three-node cluster: start, switchover, loss and return of a node, faults, and a clean end.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use testbed::{Cluster, ClusterOptions, Error, Interrupt, Network, Node, Signal, http, run, until};

const LONG: Duration = Duration::from_secs(120);

/// Whether a process exists; one that is dead and not yet waited for by init does not count.
fn is_alive(id: u32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or("Z").starts_with('Z'))
}

/// Every process of the cluster.
fn processes(cluster: &Cluster) -> Vec<u32> {
    let patronis = cluster.nodes().iter().filter_map(|node| node.id());
    let postgres = cluster.nodes().iter().flat_map(|node| node.postgres_ids());
    patronis.chain(postgres.map(|id| id as u32)).chain(cluster.etcd().id()).collect()
}

#[test]
fn a_cluster_switches_over_loses_a_node_and_leaves_nothing_behind() {
    let options = ClusterOptions { scope: "demo".to_owned(), ..ClusterOptions::default() };
    let mut cluster = Cluster::start(options).unwrap();
    assert_eq!(cluster.leader().unwrap().name(), "n1");
    for name in ["n2", "n3"] {
        let streams = "SELECT pg_is_in_recovery(), status FROM pg_stat_wal_receiver";
        let standby = cluster.node(name).unwrap().superuser();
        assert_eq!(standby.psql(streams).unwrap(), "t|streaming", "{name}");
    }
    let app = cluster.app().unwrap();
    app.psql("CREATE TABLE t (n int); INSERT INTO t VALUES (1)").unwrap();

    cluster.switchover("n2").unwrap();
    cluster.wait_ready(LONG).unwrap();
    assert_eq!(cluster.leader().unwrap().name(), "n2");
    assert_eq!(cluster.app().unwrap().psql("INSERT INTO t VALUES (2) RETURNING n").unwrap(), "2");
    let refusal = cluster.node("n1").unwrap().superuser().psql("CREATE TABLE u ()").unwrap_err();
    assert!(refusal.to_string().contains("read-only transaction"), "{refusal}");

    let lost = cluster.node("n3").unwrap().postgres_ids();
    assert!(lost.len() > 1, "{lost:?}");
    cluster.kill("n3").unwrap();
    assert!(!lost.iter().any(|&id| is_alive(id as u32)));
    assert!(cluster.node("n3").unwrap().postgres_ids().is_empty());
    cluster.restart("n3").unwrap();
    cluster.wait_ready(LONG).unwrap();
    let count = "SELECT count(*) FROM t";
    let mut standby = cluster.app().unwrap();
    standby.port = cluster.node("n3").unwrap().port();
    until("the row on the standby", LONG, &Interrupt::default(), || {
        Ok((standby.psql(count)? == "2").then_some(()))
    })
    .unwrap();

    cluster.etcd_mut().restart().unwrap();
    let all = processes(&cluster);
    assert!(all.len() > 20 && all.iter().all(|&id| is_alive(id)), "{all:?}");
    let directory = cluster.bed().path().to_path_buf();
    drop(cluster);
    let left: Vec<_> = all.into_iter().filter(|&id| is_alive(id)).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!directory.exists());
}

/// Whether a node's Postgres answers within a second.
fn answers(node: &Node) -> bool {
    let mut psql = node.superuser().command("psql").unwrap();
    psql.args(["-X", "-c", "SELECT 1"]);
    run(&mut psql, "", Duration::from_secs(1), &Interrupt::default()).is_ok()
}

fn answers_again(cluster: &Cluster, name: &str) {
    let node = cluster.node(name).unwrap();
    until("an answer", LONG, &Interrupt::default(), || Ok(answers(node).then_some(()))).unwrap();
}

#[test]
fn the_nodes_of_a_cluster_hang_crash_and_are_cut_off() {
    let network = match Network::can_be_cut() {
        Ok(()) => Network::Namespaces,
        Err(reason) => {
            println!("without networks that can be cut: {reason}");
            Network::Loopback
        }
    };
    let options = ClusterOptions {
        failsafe: true,
        synchronous: true,
        network,
        settings: vec![("max_connections".to_owned(), "150".to_owned())],
        ..ClusterOptions::default()
    };
    let mut cluster = Cluster::start(options).unwrap();
    assert_eq!(cluster.psql("SHOW max_connections").unwrap(), "150");
    assert_eq!(cluster.psql("SHOW synchronous_commit").unwrap(), "on");
    let standby = cluster.synchronous().unwrap().name().to_owned();

    cluster.freeze(&standby).unwrap();
    assert!(!answers(cluster.node(&standby).unwrap()));
    cluster.thaw(&standby).unwrap();
    answers_again(&cluster, &standby);

    if network == Network::Namespaces {
        assert!(!cluster.node("n1").unwrap().host().is_loopback());
        cluster.cut(&standby).unwrap();
        assert!(!answers(cluster.node(&standby).unwrap()));
        cluster.mend(&standby).unwrap();
        answers_again(&cluster, &standby);
    } else {
        assert!(matches!(cluster.cut(&standby), Err(Error::Missing(_))));
    }
    cluster.wait_ready(LONG).unwrap();

    let started = "SELECT pg_postmaster_start_time()";
    let before = cluster.psql(started).unwrap();
    cluster.kill_postmaster("n1").unwrap();
    until("the restart", LONG, &Interrupt::default(), || {
        Ok(cluster.psql(started).is_ok_and(|after| after != before).then_some(()))
    })
    .unwrap();
    assert_eq!(cluster.leader().unwrap().name(), "n1");
    cluster.wait_ready(LONG).unwrap();
    let to = cluster.synchronous().unwrap().name().to_owned();
    cluster.switchover(&to).unwrap();
    cluster.wait_ready(LONG).unwrap();

    assert!(cluster.stragglers().unwrap().is_empty());
    cluster.reinitialize("n1").unwrap();
    until("n1 to be away", LONG, &Interrupt::default(), || {
        Ok((cluster.stragglers()? == ["n1"]).then_some(()))
    })
    .unwrap();
    cluster.wait_ready(LONG).unwrap();
}

#[test]
fn a_citus_group_is_in_the_path_of_the_keys() {
    let options = ClusterOptions { nodes: 1, group: Some(0), ..ClusterOptions::default() };
    let cluster = Cluster::start(options).unwrap();
    // Base64 of /service/testbed/0/leader.
    let range = serde_json::json!({"key": "L3NlcnZpY2UvdGVzdGJlZC8wL2xlYWRlcg=="});
    let answer = http::post(cluster.etcd().port(), "/v3/kv/range", &range).unwrap();
    assert!(answer.body.contains("\"count\":\"1\""), "{}", answer.body);
}

#[test]
fn an_interrupt_ends_the_start() {
    let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let options = ClusterOptions { interrupt: Interrupt::on(flag), ..ClusterOptions::default() };
    assert!(matches!(Cluster::start(options), Err(Error::Interrupted)));
}

/// Runs this test binary again as an owner that is killed: no destructor runs, the janitor must do.
#[test]
fn the_janitor_outlives_a_killed_owner() {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner_that_gets_killed", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(owner.stdout.take().unwrap()));
    let line =
        lines.find_map(|line| line.unwrap().strip_prefix("BED ").map(str::to_owned)).unwrap();
    let (directory, ids) = line.split_once(' ').unwrap();
    let ids: Vec<u32> = ids.split(' ').map(|id| id.parse().unwrap()).collect();
    assert!(ids.len() > 5 && ids.iter().all(|&id| is_alive(id)));
    owner.kill().unwrap();
    owner.wait().unwrap();
    until("the janitor's work", LONG, &Interrupt::default(), || {
        let gone = !ids.iter().any(|&id| is_alive(id)) && !fs::exists(directory).unwrap();
        Ok(gone.then_some(()))
    })
    .unwrap();
}

#[test]
#[ignore = "run by the_janitor_outlives_a_killed_owner, which kills it"]
fn owner_that_gets_killed() {
    let cluster = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).unwrap();
    let ids: Vec<String> = processes(&cluster).iter().map(u32::to_string).collect();
    println!("BED {} {}", cluster.bed().path().display(), ids.join(" "));
    // Until killed; the deadline only matters if the other test died first.
    let _ = until::<()>("death", LONG, &Interrupt::default(), || Ok(None));
}

#[test]
fn a_daemon_that_cannot_start_shows_its_log() {
    let bed = testbed::Bed::new(Interrupt::default()).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo out of luck >&2; exit 7"]);
    let mut daemon = bed.spawn("unlucky", &mut shell, Signal::KILL).unwrap();
    let error = daemon.wait_ready(LONG, &Interrupt::default(), || false).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("out of luck") && text.contains('7'), "{text}");
}
