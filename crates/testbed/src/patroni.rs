//! One Patroni with its Postgres.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::daemon::{Daemon, Signal};
use crate::{
    Bed, ClusterOptions, Error, Login, Port, REPLICATOR, SUPERUSER, census, http, postgres,
    programs,
};

/// A node of a [`Cluster`](crate::Cluster): a Patroni, the Postgres it looks after, and their ports.
#[derive(Debug)]
pub struct Node {
    name: String,
    // Before the bed: fields are dropped in order.
    patroni: Option<Daemon>,
    api: Port,
    sql: Port,
    directory: PathBuf,
    bed: Arc<Bed>,
}

impl Node {
    /// Writes the node's configuration and starts its Patroni, which does the rest in its own time.
    pub(crate) fn start(
        bed: &Arc<Bed>,
        name: &str,
        etcd: &str,
        options: &ClusterOptions,
    ) -> Result<Self, Error> {
        let directory = bed.private_directory(name)?;
        let (api, sql) = (Port::reserve()?, Port::reserve()?);
        let bed = Arc::clone(bed);
        let mut node = Self { name: name.to_owned(), patroni: None, api, sql, directory, bed };
        let mut parameters = Map::new();
        for (name, value) in postgres::SETTINGS {
            parameters.insert(name.to_owned(), value.into());
        }
        parameters.insert("unix_socket_directories".to_owned(), json!(node.directory));
        if let Some(tls) = &options.tls {
            // Absolute: standbys copy the leader's data directory, not its neighbours.
            for (name, value) in postgres::write_tls(&node.bed, &node.directory, tls)? {
                parameters.insert(name.to_owned(), value.into());
            }
        }
        // JSON is YAML, which is what Patroni reads.
        let configuration = node.configuration(etcd, options, parameters)?.to_string();
        node.bed.private_file(&node.directory.join("patroni.yml"), &configuration)?;
        node.run()?;
        Ok(node)
    }

    /// Its name in the cluster: `n1`, `n2`, ….
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port of its Postgres on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.sql.number()
    }

    /// The port of Patroni's REST API on 127.0.0.1.
    pub fn api_port(&self) -> u16 {
        self.api.number()
    }

    /// The process id of its Patroni, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.patroni.as_ref().map(Daemon::id)
    }

    /// The process ids of its Postgres, postmaster and children.
    pub fn postgres_ids(&self) -> Vec<i32> {
        census::postgres_processes(&self.data()).into_iter().map(|pid| pid.as_raw_pid()).collect()
    }

    /// A login as the superuser, in the database `postgres`.
    pub fn superuser(&self) -> Login {
        Login::new(self.port(), SUPERUSER, "postgres")
    }

    /// Asks its Patroni; see Patroni's REST API for the paths.
    ///
    /// # Errors
    /// [`Error::Http`] when it does not answer.
    pub fn api(&self, path: &str) -> Result<http::Response, Error> {
        http::get(self.api_port(), path)
    }

    /// Whether the node's Patroni says that it holds the leader key and runs as primary.
    pub(crate) fn is_primary(&self) -> bool {
        self.patroni.is_some() && self.api("/primary").is_ok_and(|answer| answer.status == 200)
    }

    /// Whether the node's Patroni says that it runs as standby.
    pub(crate) fn is_standby(&self) -> bool {
        self.patroni.is_some() && self.api("/replica").is_ok_and(|answer| answer.status == 200)
    }

    /// The standbys that stream from it, if it is a primary.
    pub(crate) fn streaming(&self) -> Vec<String> {
        let status: Value =
            match self.api("/patroni").map(|answer| serde_json::from_str(&answer.body)) {
                Ok(Ok(status)) => status,
                _ => return Vec::new(),
            };
        let standbys = status["replication"].as_array().into_iter().flatten();
        standbys
            .filter(|standby| standby["state"] == "streaming")
            .filter_map(|standby| standby["application_name"].as_str().map(str::to_owned))
            .collect()
    }

    /// Whether the data directory has been begun, so that this node is the one to initialise the
    /// cluster.
    pub(crate) fn has_data(&self) -> bool {
        self.data().exists()
    }

    /// Starts Patroni, unless it runs.
    pub(crate) fn run(&mut self) -> Result<(), Error> {
        if self.patroni.is_some() {
            return Ok(());
        }
        let mut patroni = Command::new(programs::find("patroni")?);
        patroni.arg(self.directory.join("patroni.yml")).current_dir(&self.directory);
        postgres::environment(&mut patroni);
        self.bed.account.run(&mut patroni);
        self.patroni = Some(self.bed.spawn(&self.name, &mut patroni, Signal::KILL)?);
        Ok(())
    }

    /// Kills Patroni and Postgres as a power cut would.
    pub(crate) fn kill(&mut self) -> Result<(), Error> {
        // Patroni first: it would start Postgres again.
        self.patroni = None;
        census::kill_postgres(&self.data())
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn configuration(
        &self,
        etcd: &str,
        options: &ClusterOptions,
        parameters: Map<String, Value>,
    ) -> Result<Value, Error> {
        let postgres = programs::find_postgres("postgres")?;
        let mut shared = Map::new();
        for (name, value) in &options.settings {
            shared.insert(name.clone(), value.as_str().into());
        }
        let api = format!("127.0.0.1:{}", self.api);
        let sql = format!("127.0.0.1:{}", self.sql);
        let mut hba = options.hba.clone();
        hba.push("host replication all 127.0.0.1/32 scram-sha-256".to_owned());
        hba.push("host all all 127.0.0.1/32 scram-sha-256".to_owned());
        let account =
            |who: crate::Credentials| json!({"username": who.user, "password": who.password});
        Ok(json!({
            "scope": options.key_scope(),
            "namespace": options.namespace,
            "name": self.name,
            "etcd3": {"url": etcd},
            "restapi": {"listen": api, "connect_address": api},
            "bootstrap": {
                "dcs": {
                    "ttl": options.ttl.as_secs(),
                    "loop_wait": options.loop_wait.as_secs(),
                    "retry_timeout": options.retry_timeout().as_secs(),
                    "maximum_lag_on_failover": 1 << 20,
                    "postgresql": {"use_pg_rewind": true, "parameters": shared},
                },
                "initdb": ["no-sync", {"encoding": "UTF8"}, {"locale": "C.UTF-8"}],
            },
            "postgresql": {
                "listen": sql,
                "connect_address": sql,
                "data_dir": self.data(),
                "bin_dir": postgres.parent(),
                "pgpass": self.directory.join("pgpass"),
                "authentication": {
                    "superuser": account(SUPERUSER),
                    "replication": account(REPLICATOR),
                },
                "basebackup": ["no-sync", {"checkpoint": "fast"}],
                "parameters": parameters,
                "pg_hba": hba,
            },
        }))
    }
}
