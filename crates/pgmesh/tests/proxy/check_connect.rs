//! `pgmesh check --connect` against a Postgres, against none, and against an etcd without a leader.

use std::process::{Command, Output};

use testbed::{APP_USER, Etcd};

use crate::postgres;
use crate::proxy::binary;

fn check(toml: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("proxy.toml");
    std::fs::write(&path, toml).unwrap();
    let mut command = Command::new(binary());
    command.args(["check", "--connect", "--config"]).arg(&path).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn user(name: &str, password: &str) -> String {
    format!("[[users]]\nname = \"{name}\"\npassword = \"{password}\"\n")
}

#[test]
fn every_user_is_tried_at_the_primary_and_each_is_told() {
    let postgres = postgres();
    let nodes =
        format!("[cluster]\ndiscovery = \"static\"\nnodes = [\"127.0.0.1:{}\"]\n", postgres.port());
    let good = format!("{nodes}{}", user(APP_USER.user, APP_USER.password));
    let output = check(&good);
    let text = told(&output);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for part in ["ok      cluster: the primary is", "ok      user \"app_user\": logs in"] {
        assert!(text.contains(part), "{part} in {text}");
    }

    let output = check(&format!("{good}{}", user("nobody", "wrong_password")));
    let text = told(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("ok      user \"app_user\""), "{text}");
    let line = text.lines().find(|line| line.contains("\"nobody\"")).unwrap();
    assert!(line.starts_with("failed ") && line.contains("28P01"), "{line}");
    assert!(line.contains("ALTER ROLE"), "{line}");
    assert!(!text.contains("wrong_password"), "{text}");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("1 of what was tried did not work"), "{stderr}");
    assert!(!stderr.contains("wrong_password"), "{stderr}");
}

#[test]
fn a_server_that_is_not_there_and_a_cluster_without_a_leader_are_told() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let nodes = format!("[cluster]\ndiscovery = \"static\"\nnodes = [\"127.0.0.1:{port}\"]\n");
    let output = check(&format!("{nodes}{}", user(APP_USER.user, APP_USER.password)));
    assert_eq!(output.status.code(), Some(1));
    let text = told(&output);
    assert!(text.contains("failed  user \"app_user\": cannot connect to"), "{text}");
    assert!(text.contains("is it running"), "{text}");

    let etcd = Etcd::start().unwrap();
    let cluster =
        format!("[cluster]\nendpoints = [\"{}\"]\nscope = \"nothing-here\"\n", etcd.endpoint());
    let output = check(&format!("{cluster}{}", user(APP_USER.user, APP_USER.password)));
    assert_eq!(output.status.code(), Some(1));
    let text = told(&output);
    assert!(text.contains("failed  cluster: "), "{text}");
    assert!(text.contains("failed  users: not tried"), "{text}");
}
