//! One Patroni with its Postgres.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::daemon::{Daemon, Signal};
use crate::network::Cable;
use crate::{
    Bed, ClusterOptions, Error, Login, Port, REPLICATOR, SUPERUSER, census, http, postgres,
    programs,
};

/// A leader that is cut off and told to stop waits that long for its standbys, and Patroni 3.0
/// loses patience after 10 s: it demotes once more and starts a second postmaster on the same data.
const SETTINGS: [(&str, &str); 2] = [("wal_sender_timeout", "5s"), ("wal_receiver_timeout", "5s")];

/// A node of a [`Cluster`](crate::Cluster): a Patroni, the Postgres it looks after, and their ports.
#[derive(Debug)]
pub struct Node {
    name: String,
    // Before the bed: fields are dropped in order.
    patroni: Option<Daemon>,
    api: Port,
    sql: Port,
    directory: PathBuf,
    cable: Option<Cable>,
    bed: Arc<Bed>,
}

/// Where a node finds the others.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// The URL of etcd.
    pub(crate) etcd: String,
    /// The addresses that clients and other nodes come from, as in pg_hba.conf.
    pub(crate) subnet: String,
}

impl Node {
    /// Writes the node's configuration and starts its Patroni, which does the rest in its own time.
    pub(crate) fn start(
        bed: &Arc<Bed>,
        name: &str,
        cable: Option<Cable>,
        surroundings: &Surroundings,
        options: &ClusterOptions,
    ) -> Result<Self, Error> {
        let directory = bed.private_directory(name)?;
        let (api, sql) = (Port::reserve()?, Port::reserve()?);
        let bed = Arc::clone(bed);
        let mut node =
            Self { name: name.to_owned(), patroni: None, api, sql, directory, cable, bed };
        let mut parameters = Map::new();
        // What a node says of itself wins over what the cluster shares.
        let shared = |name: &str| options.settings.iter().any(|(shared, _)| shared == name);
        let own = postgres::SETTINGS.into_iter().chain(SETTINGS);
        for (name, value) in own.filter(|(name, _)| !shared(name)) {
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
        let configuration = node.configuration(surroundings, options, parameters)?.to_string();
        node.bed.private_file(&node.directory.join("patroni.yml"), &configuration)?;
        node.run()?;
        Ok(node)
    }

    /// Its name in the cluster: `n1`, `n2`, ….
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port of its Postgres.
    pub fn port(&self) -> u16 {
        self.sql.number()
    }

    /// The port of Patroni's REST API.
    pub fn api_port(&self) -> u16 {
        self.api.number()
    }

    /// Its address: 127.0.0.1 unless it has a network of its own.
    pub fn host(&self) -> Ipv4Addr {
        self.cable.as_ref().map_or(Ipv4Addr::LOCALHOST, Cable::address)
    }

    /// The address of its Postgres.
    pub fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.host(), self.port())
    }

    /// The address of Patroni's REST API.
    pub fn api_address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.host(), self.api_port())
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
        Login::at(self.address(), SUPERUSER, "postgres")
    }

    /// Asks its Patroni; see Patroni's REST API for the paths.
    ///
    /// # Errors
    /// [`Error::Http`] when it does not answer.
    pub fn api(&self, path: &str) -> Result<http::Response, Error> {
        http::get_at(self.api_address().into(), path)
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
        let status = self.ask("/patroni");
        let standbys = status["replication"].as_array().into_iter().flatten();
        standbys
            .filter(|standby| standby["state"] == "streaming")
            .filter_map(|standby| standby["application_name"].as_str().map(str::to_owned))
            .collect()
    }

    /// The members that its Patroni calls synchronous standbys.
    pub(crate) fn synchronous(&self) -> Vec<String> {
        let status = self.ask("/cluster");
        let members = status["members"].as_array().into_iter().flatten();
        members
            .filter(|member| member["role"] == "sync_standby")
            .filter_map(|member| member["name"].as_str().map(str::to_owned))
            .collect()
    }

    /// What its Patroni answers, null if it does not.
    fn ask(&self, path: &str) -> Value {
        let answer = self.api(path).ok();
        answer.and_then(|answer| serde_json::from_str(&answer.body).ok()).unwrap_or_default()
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
        let program = programs::find("patroni")?;
        let mut patroni = match &self.cable {
            Some(cable) => cable.command(&program)?,
            None => {
                let mut patroni = Command::new(program);
                self.bed.account.run(&mut patroni);
                patroni
            }
        };
        patroni.arg(self.directory.join("patroni.yml")).current_dir(&self.directory);
        postgres::environment(&mut patroni);
        self.patroni = Some(self.bed.spawn(&self.name, &mut patroni, Signal::KILL)?);
        Ok(())
    }

    /// Kills Patroni and Postgres as a power cut would.
    pub(crate) fn kill(&mut self) -> Result<(), Error> {
        // Patroni first: it would start Postgres again.
        self.patroni = None;
        census::kill_postgres(&self.data())
    }

    /// Kills the postmaster; Patroni finds out and starts Postgres again.
    pub(crate) fn kill_postmaster(&self) -> Result<(), Error> {
        census::kill_postmaster(&self.data())
    }

    /// Stops every process where it stands, as a machine that hangs.
    pub(crate) fn freeze(&mut self) {
        if let Some(patroni) = &mut self.patroni {
            patroni.signal(Signal::STOP);
        }
        census::stop_postgres(&self.data());
    }

    /// Lets it go on.
    pub(crate) fn thaw(&mut self) {
        census::continue_postgres(&self.data());
        if let Some(patroni) = &mut self.patroni {
            patroni.signal(Signal::CONT);
        }
    }

    /// What connects it to the others.
    pub(crate) fn cable(&self) -> Result<&Cable, Error> {
        self.cable.as_ref().ok_or_else(|| Error::Missing(format!("network of {}", self.name)))
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn configuration(
        &self,
        surroundings: &Surroundings,
        options: &ClusterOptions,
        parameters: Map<String, Value>,
    ) -> Result<Value, Error> {
        let postgres = programs::find_postgres("postgres")?;
        let mut shared = Map::new();
        for (name, value) in &options.settings {
            shared.insert(name.clone(), value.as_str().into());
        }
        let (api, sql) = (self.api_address().to_string(), self.address().to_string());
        let Surroundings { etcd, subnet } = surroundings;
        let mut hba = options.hba.clone();
        hba.push(format!("host replication all {subnet} scram-sha-256"));
        hba.push(format!("host all all {subnet} scram-sha-256"));
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
                    "failsafe_mode": options.failsafe,
                    "synchronous_mode": options.synchronous,
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
                // A node that lost its leadership comes back whatever became of its data.
                "remove_data_directory_on_rewind_failure": true,
                "remove_data_directory_on_diverged_timelines": true,
                "parameters": parameters,
                "pg_hba": hba,
            },
        }))
    }
}
