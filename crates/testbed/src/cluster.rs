//! A Patroni cluster: one etcd and several nodes.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::login::{identifier, literal};
use crate::network::Bridge;
use crate::patroni::Surroundings;
use crate::{
    APP_DATABASE, APP_USER, Bed, Error, Etcd, Interrupt, Login, Network, Node, ServerTls, http,
    until,
};

/// Three nodes take about 11 s on two idle cores; tests share theirs with compilers.
const READY: Duration = Duration::from_secs(120);

/// How a cluster is set up.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// How many nodes.
    pub nodes: usize,
    /// Patroni's ttl of the leader key, in whole seconds; Patroni accepts no less than 20 s.
    pub ttl: Duration,
    /// Patroni's loop_wait, in whole seconds.
    pub loop_wait: Duration,
    /// Patroni's scope: the cluster's name in etcd.
    pub scope: String,
    /// The prefix of all keys in etcd, with a slash at both ends.
    pub namespace: String,
    /// Lays out the keys as Patroni does for this Citus group. The extension itself is not needed.
    pub group: Option<u32>,
    /// Patroni's failsafe_mode: a leader that loses etcd stays while all members answer it.
    pub failsafe: bool,
    /// Patroni's synchronous_mode: what was acknowledged is on the next leader, too.
    pub synchronous: bool,
    /// What connects the nodes. Etcd is always reached by all.
    pub network: Network,
    /// TLS is offered by every node when given.
    pub tls: Option<ServerTls>,
    /// Lines put before all others in pg_hba.conf.
    pub hba: Vec<String>,
    /// Postgres settings on top of the testbed's, such as `("max_connections", "300")`.
    pub settings: Vec<(String, String)>,
    /// Ends the start and later waits early.
    pub interrupt: Interrupt,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            nodes: 3,
            ttl: Duration::from_secs(20),
            loop_wait: Duration::from_secs(2),
            scope: "testbed".to_owned(),
            namespace: "/service/".to_owned(),
            group: None,
            failsafe: false,
            synchronous: false,
            network: Network::default(),
            tls: None,
            hba: Vec::new(),
            settings: Vec::new(),
            interrupt: Interrupt::default(),
        }
    }
}

impl ClusterOptions {
    /// The scope as Patroni is told it: a group is one more level of the same path.
    pub(crate) fn key_scope(&self) -> String {
        match self.group {
            Some(group) => format!("{}/{group}", self.scope),
            None => self.scope.clone(),
        }
    }

    /// Patroni demands `loop_wait + 2 * retry_timeout <= ttl`, and at least 3 s.
    pub(crate) fn retry_timeout(&self) -> Duration {
        (self.ttl.saturating_sub(self.loop_wait) / 2)
            .clamp(Duration::from_secs(3), Duration::from_secs(5))
    }
}

/// A running cluster. It has a superuser, a replication role, `app_user` and the database `app`, all
/// with SCRAM; see [`SUPERUSER`](crate::SUPERUSER) and its neighbours.
#[derive(Debug)]
pub struct Cluster {
    // Before the bed: fields are dropped in order.
    nodes: Vec<Node>,
    etcd: Etcd,
    options: ClusterOptions,
    bed: Arc<Bed>,
}

impl Cluster {
    /// Starts etcd and the nodes and waits until all standbys stream. The first node becomes leader.
    ///
    /// # Errors
    /// [`Error::Missing`] when a program is not installed; otherwise what failed, with the logs.
    pub fn start(options: ClusterOptions) -> Result<Self, Error> {
        let bed = Arc::new(Bed::new(options.interrupt.clone())?);
        let bridge = match options.network {
            Network::Loopback => None,
            Network::Namespaces => Some(Bridge::new(&bed)?),
        };
        let host = bridge.as_ref().map_or(Ipv4Addr::LOCALHOST, Bridge::gateway);
        let etcd = Etcd::start_in(Arc::clone(&bed), host)?;
        let surroundings = Surroundings {
            etcd: etcd.endpoint(),
            subnet: bridge.as_ref().map_or_else(|| "127.0.0.1/32".to_owned(), Bridge::subnet),
        };
        let mut cluster = Self { nodes: Vec::new(), etcd, options, bed };
        for number in (1..=u8::MAX).take(cluster.options.nodes) {
            let cable = bridge.as_ref().map(|bridge| bridge.attach(number)).transpose()?;
            let name = format!("n{number}");
            let node = Node::start(&cluster.bed, &name, cable, &surroundings, &cluster.options)?;
            if number == 1 {
                // Whoever takes the initialize key first is leader: let it be this one, always.
                cluster
                    .wait("the first node to initialise", || Ok(node.has_data().then_some(())))?;
            }
            cluster.nodes.push(node);
        }
        cluster.wait_ready(READY)?;
        let (user, password) = (identifier(APP_USER.user), literal(APP_USER.password));
        cluster.psql(&format!(
            "CREATE ROLE {user} LOGIN PASSWORD {password};\n\
             CREATE DATABASE {} OWNER {user};",
            identifier(APP_DATABASE)
        ))?;
        Ok(cluster)
    }

    /// Waits until one node is primary and every other node that was not killed streams from it, of
    /// a synchronous cluster one as its synchronous standby.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the ends of all logs.
    pub fn wait_ready(&self, within: Duration) -> Result<(), Error> {
        until("cluster ready", within, &self.options.interrupt, || {
            let Some(primary) = self.primary() else { return Ok(None) };
            let streaming = primary.streaming();
            let mut standbys = self
                .nodes
                .iter()
                .filter(|node| node.id().is_some() && node.name() != primary.name());
            // A base backup streams under the same name before the standby is one.
            let all = standbys
                .all(|node| streaming.iter().any(|name| name == node.name()) && node.is_standby());
            let all = all && (!self.options.synchronous || !primary.synchronous().is_empty());
            Ok(all.then_some(()))
        })
        .map_err(|error| error.with_log(|| self.bed.tails()))
    }

    /// The names of standbys that were not killed and do not stream from the leader.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no leader at the moment.
    pub fn stragglers(&self) -> Result<Vec<String>, Error> {
        let leader = self.leader()?;
        let streaming = leader.streaming();
        let others = self.nodes.iter().filter(|node| node.id().is_some());
        let missing = others
            .map(Node::name)
            .filter(|name| *name != leader.name() && !streaming.iter().any(|it| it == name));
        Ok(missing.map(str::to_owned).collect())
    }

    /// Has a standby's Patroni throw its data away and copy the leader's, as an operator would when
    /// it does not follow. Returns when that has begun.
    ///
    /// # Errors
    /// [`Error::Http`] with Patroni's reason when it refuses.
    pub fn reinitialize(&self, name: &str) -> Result<(), Error> {
        let address = self.node(name)?.api_address().into();
        let answer = http::post_at(address, "/reinitialize", &json!({"force": true}))?;
        if answer.status != 200 {
            let reason = format!("{}: {}", answer.status, answer.body);
            return Err(Error::Http { request: format!("reinitialize {name}"), reason });
        }
        Ok(())
    }

    /// The node that holds the leader key and runs as primary.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none at the moment.
    pub fn leader(&self) -> Result<&Node, Error> {
        self.primary().ok_or_else(|| Error::Missing("leader at the moment".to_owned()))
    }

    /// All nodes, in order of their names.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node by its name.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn node(&self, name: &str) -> Result<&Node, Error> {
        let found = self.nodes.iter().find(|node| node.name() == name);
        found.ok_or_else(|| Error::Missing(format!("node {name}")))
    }

    /// The synchronous standby: the only node that Patroni hands leadership to in a synchronous
    /// cluster.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none at the moment.
    pub fn synchronous(&self) -> Result<&Node, Error> {
        let names = self.leader()?.synchronous();
        let first = names.first();
        self.node(first.ok_or_else(|| Error::Missing("synchronous standby".to_owned()))?)
    }

    /// Hands leadership to the node called `to`, gracefully, and waits until it is primary.
    ///
    /// # Errors
    /// [`Error::Http`] with Patroni's reason when it refuses, [`Error::Timeout`] with all logs.
    pub fn switchover(&self, to: &str) -> Result<(), Error> {
        let leader = self.leader()?;
        let request = json!({"leader": leader.name(), "candidate": to});
        let answer = http::post_at(leader.api_address().into(), "/switchover", &request)?;
        if answer.status != 200 {
            let reason = format!("{}: {}", answer.status, answer.body);
            return Err(Error::Http { request: format!("switchover to {to}"), reason });
        }
        let target = self.node(to)?;
        self.wait(&format!("{to} to be primary"), || Ok(target.is_primary().then_some(())))
    }

    /// Kills Patroni and Postgres of a node with SIGKILL, as a power cut would.
    ///
    /// # Errors
    /// [`Error::Missing`] for an unknown name.
    pub fn kill(&mut self, name: &str) -> Result<(), Error> {
        self.node_mut(name)?.kill()
    }

    /// Kills the postmaster of a node with SIGKILL and nothing else: Patroni starts Postgres again.
    ///
    /// # Errors
    /// [`Error::Missing`] for an unknown name or when no postmaster runs.
    pub fn kill_postmaster(&self, name: &str) -> Result<(), Error> {
        self.node(name)?.kill_postmaster()
    }

    /// Stops every process of a node where it stands, as a machine that hangs, until
    /// [`Cluster::thaw`].
    ///
    /// # Errors
    /// [`Error::Missing`] for an unknown name.
    pub fn freeze(&mut self, name: &str) -> Result<(), Error> {
        self.node_mut(name)?.freeze();
        Ok(())
    }

    /// Lets a frozen node go on as if nothing had been.
    ///
    /// # Errors
    /// [`Error::Missing`] for an unknown name.
    pub fn thaw(&mut self, name: &str) -> Result<(), Error> {
        self.node_mut(name)?.thaw();
        Ok(())
    }

    /// Cuts a node off from everybody, silently, until [`Cluster::mend`].
    ///
    /// # Errors
    /// [`Error::Missing`] for an unknown name or in a cluster without [`Network::Namespaces`].
    pub fn cut(&self, name: &str) -> Result<(), Error> {
        self.node(name)?.cable()?.cut()
    }

    /// Connects a node again.
    ///
    /// # Errors
    /// As [`Cluster::cut`].
    pub fn mend(&self, name: &str) -> Result<(), Error> {
        self.node(name)?.cable()?.mend()
    }

    /// Starts a killed node again and returns at once; [`Cluster::wait_ready`] waits for it.
    ///
    /// # Errors
    /// [`Error::Missing`] for an unknown name.
    pub fn restart(&mut self, name: &str) -> Result<(), Error> {
        self.node_mut(name)?.run()
    }

    /// The etcd, to ask it.
    pub fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    /// The etcd, to kill and restart it.
    pub fn etcd_mut(&mut self) -> &mut Etcd {
        &mut self.etcd
    }

    /// How it was set up.
    pub fn options(&self) -> &ClusterOptions {
        &self.options
    }

    /// Runs SQL on the leader as the superuser; see [`Login::psql`].
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no leader, [`Error::Command`] with psql's message.
    pub fn psql(&self, sql: &str) -> Result<String, Error> {
        self.leader()?.superuser().psql(sql)
    }

    /// A login straight to the leader as the application's role in its database.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no leader.
    pub fn app(&self) -> Result<Login, Error> {
        Ok(Login::at(self.leader()?.address(), APP_USER, APP_DATABASE))
    }

    /// The ends of all logs.
    pub fn tails(&self) -> String {
        self.bed.tails()
    }

    /// The bed, to start more daemons in.
    pub fn bed(&self) -> &Bed {
        &self.bed
    }

    fn primary(&self) -> Option<&Node> {
        self.nodes.iter().find(|node| node.is_primary())
    }

    fn node_mut(&mut self, name: &str) -> Result<&mut Node, Error> {
        let found = self.nodes.iter_mut().find(|node| node.name() == name);
        found.ok_or_else(|| Error::Missing(format!("node {name}")))
    }

    fn wait<T>(
        &self,
        what: &str,
        ready: impl FnMut() -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        until(what, READY, &self.options.interrupt, ready)
            .map_err(|error| error.with_log(|| self.bed.tails()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_one_more_level_of_the_path() {
        let mut options = ClusterOptions::default();
        assert_eq!(options.key_scope(), "testbed");
        options.group = Some(0);
        assert_eq!(options.key_scope(), "testbed/0");
    }

    #[test]
    fn the_timeouts_satisfy_patroni() {
        for (ttl, loop_wait) in [(20, 1), (20, 2), (20, 10), (30, 10), (60, 10)] {
            let (ttl, loop_wait) = (Duration::from_secs(ttl), Duration::from_secs(loop_wait));
            let options = ClusterOptions { ttl, loop_wait, ..ClusterOptions::default() };
            assert!(loop_wait + 2 * options.retry_timeout() <= ttl, "{ttl:?} {loop_wait:?}");
        }
    }
}
