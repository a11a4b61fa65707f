//! A pgmesh under test, and the proxy.toml it is started with.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use testbed::{APP_USER, Cluster, Etcd, Pgmesh, PgmeshOptions, Postgres};

/// The binary: the one that was built with these tests, or the one that `PGMESH_BIN` names.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("PGMESH_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_pgmesh")), PathBuf::from)
}

/// A proxy.toml in the making, table by table. `app_user` may log in, and the ports are those
/// that the testbed reserves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    tables: BTreeMap<&'static str, String>,
    users: String,
    environment: Vec<(String, String)>,
}

impl Setup {
    /// In front of a single Postgres.
    pub(crate) fn before(postgres: &Postgres) -> Self {
        Self::before_nodes(&[postgres.port()])
    }

    /// In front of a fixed list of nodes on 127.0.0.1.
    pub(crate) fn before_nodes(ports: &[u16]) -> Self {
        let nodes: Vec<String> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let keys = format!("discovery = \"static\"\nnodes = [{}]", nodes.join(", "));
        Self::default().with("cluster", &keys).user(APP_USER.user, APP_USER.password, "")
    }

    /// In front of a cluster that is followed in etcd.
    pub(crate) fn before_etcd(cluster: &Cluster) -> Self {
        let options = cluster.options();
        let setup = Self::before_keys(cluster.etcd(), &options.namespace, &options.scope);
        match options.group {
            Some(group) => setup.with("cluster", &format!("group = {group}")),
            None => setup,
        }
    }

    /// In front of whatever is under this namespace and scope in etcd.
    pub(crate) fn before_keys(etcd: &Etcd, namespace: &str, scope: &str) -> Self {
        let endpoint = etcd.endpoint();
        let keys = format!(
            "discovery = \"etcd\"\nendpoints = [\"{endpoint}\"]\nscope = \"{scope}\"\nnamespace = \"{namespace}\""
        );
        Self::default().with("cluster", &keys).user(APP_USER.user, APP_USER.password, "")
    }

    /// In front of a cluster that is followed through Patroni's REST interfaces.
    pub(crate) fn before_patroni(cluster: &Cluster) -> Self {
        let urls: Vec<String> = cluster
            .nodes()
            .iter()
            .map(|node| format!("\"http://127.0.0.1:{}\"", node.api_port()))
            .collect();
        let keys = format!(
            "discovery = \"patroni\"\nendpoints = [{}]\npoll_interval = \"200ms\"",
            urls.join(", ")
        );
        Self::default().with("cluster", &keys).user(APP_USER.user, APP_USER.password, "")
    }

    /// Adds keys to a table.
    pub(crate) fn with(mut self, table: &'static str, keys: &str) -> Self {
        let _ = writeln!(self.tables.entry(table).or_default(), "{keys}");
        self
    }

    /// Adds a user, with more keys for it.
    pub(crate) fn user(mut self, name: &str, password: &str, keys: &str) -> Self {
        let _ =
            writeln!(self.users, "[[users]]\nname = \"{name}\"\npassword = \"{password}\"\n{keys}");
        self
    }

    /// Adds a user whose password is in a file.
    pub(crate) fn user_of_file(mut self, name: &str, file: &Path, keys: &str) -> Self {
        let file = file.display();
        let _ = writeln!(
            self.users,
            "[[users]]\nname = \"{name}\"\npassword = {{ file = \"{file}\" }}\n{keys}"
        );
        self
    }

    /// Forgets the users there are.
    pub(crate) fn without_users(mut self) -> Self {
        self.users.clear();
        self
    }

    /// Sets a variable of pgmesh's environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts pgmesh and waits until its port answers.
    pub(crate) fn start(self) -> Pgmesh {
        self.start_by(&binary())
    }

    /// Starts what starts pgmesh in its turn, or pgmesh itself.
    pub(crate) fn start_by(self, binary: &Path) -> Pgmesh {
        let Self { mut tables, users, environment } = self;
        let options = PgmeshOptions { environment, ..PgmeshOptions::new(binary) };
        Pgmesh::start_with(&options, |ports| {
            let mut insert = |table, keys: String| {
                tables.entry(table).or_default().insert_str(0, &keys);
            };
            insert("proxy", format!("listen = \"127.0.0.1\"\nport = {}\n", ports.sql));
            insert("metrics", format!("listen = \"127.0.0.1:{}\"\n", ports.metrics));
            let mut toml = String::new();
            for (table, keys) in &tables {
                let _ = writeln!(toml, "[{table}]\n{keys}");
            }
            toml + &users
        })
        .unwrap()
    }
}
