//! The ways in which a cluster loses its leader, or what it finds it by.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use testbed::{Cluster, http};

use super::options::Extent;

/// What happens to a cluster in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A switchover by Patroni's REST API, as patronictl does it.
    Switchover,
    /// The leader's postmaster killed; Patroni starts it again.
    Postmaster,
    /// Postmaster and Patroni of the leader killed.
    Node,
    /// Every process of the leader stopped, and continued when another leader has served.
    Hang,
    /// The leader cut off from everybody, and connected again when another leader has served.
    Partition,
    /// Etcd down for a while.
    Etcd,
    /// Etcd and the leader killed, in turns one or the other first; then etcd comes back.
    EtcdLeader,
}

/// A fault that has struck.
pub(crate) struct Struck {
    /// Ends with Patroni's answer.
    switchover: Option<JoinHandle<Result<http::Response, testbed::Error>>>,
}

impl Fault {
    pub(crate) const ALL: [Self; 7] = [
        Self::Switchover,
        Self::Postmaster,
        Self::Node,
        Self::Hang,
        Self::Partition,
        Self::Etcd,
        Self::EtcdLeader,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Switchover => "switchover",
            Self::Postmaster => "postmaster",
            Self::Node => "node",
            Self::Hang => "hang",
            Self::Partition => "partition",
            Self::Etcd => "etcd",
            Self::EtcdLeader => "etcd-leader",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.as_str() == name)
    }

    /// Whether writes are interrupted, so that they begin again at a moment.
    pub(crate) fn interrupts(self) -> bool {
        self != Self::Etcd
    }

    /// How long etcd is away.
    pub(crate) fn outage(self, extent: Extent) -> Option<Duration> {
        match (self, extent) {
            (Self::Etcd, Extent::Long) => Some(Duration::from_secs(3600)),
            (Self::Etcd, Extent::Usual) => Some(Duration::from_secs(60)),
            (Self::Etcd, Extent::Quick) => Some(Duration::from_secs(15)),
            (Self::EtcdLeader, _) => Some(Duration::from_secs(5)),
            _ => None,
        }
    }

    /// Strikes the node called `leader`. Does not wait for any consequence.
    ///
    /// # Errors
    /// When nothing happened.
    pub(crate) fn strike(
        self,
        cluster: &mut Cluster,
        leader: &str,
        round: usize,
    ) -> anyhow::Result<Struck> {
        let mut switchover = None;
        match self {
            Self::Switchover => {
                let api = cluster.node(leader)?.api_address().into();
                let candidate = cluster.synchronous()?.name();
                let request = serde_json::json!({"leader": leader, "candidate": candidate});
                let ask = move || http::post_at(api, "/switchover", &request);
                switchover = Some(thread::spawn(ask));
            }
            Self::Postmaster => cluster.kill_postmaster(leader)?,
            Self::Node => cluster.kill(leader)?,
            Self::Hang => cluster.freeze(leader)?,
            Self::Partition => cluster.cut(leader)?,
            Self::Etcd => cluster.etcd_mut().kill(),
            Self::EtcdLeader if round.is_multiple_of(2) => {
                cluster.etcd_mut().kill();
                cluster.kill(leader)?;
            }
            Self::EtcdLeader => {
                cluster.kill(leader)?;
                cluster.etcd_mut().kill();
            }
        }
        Ok(Struck { switchover })
    }

    /// What ends while the clients go on, once another leader has served them: the old one wakes up
    /// or is heard again.
    pub(crate) fn relent(self, cluster: &mut Cluster, leader: &str) -> anyhow::Result<()> {
        match self {
            Self::Hang => cluster.thaw(leader)?,
            Self::Partition => cluster.mend(leader)?,
            Self::Switchover | Self::Postmaster | Self::Node | Self::Etcd | Self::EtcdLeader => {}
        }
        Ok(())
    }

    /// What is repaired after the clients have gone.
    pub(crate) fn repair(self, cluster: &mut Cluster, leader: &str) -> anyhow::Result<()> {
        match self {
            Self::Node | Self::EtcdLeader => cluster.restart(leader)?,
            Self::Switchover | Self::Postmaster | Self::Hang | Self::Partition | Self::Etcd => {}
        }
        Ok(())
    }
}

impl Struck {
    /// Waits for what was asked for.
    ///
    /// # Errors
    /// Patroni refused it.
    pub(crate) fn conclude(self) -> anyhow::Result<()> {
        let Some(switchover) = self.switchover else { return Ok(()) };
        let answer = switchover.join().ok().context("the request for a switchover panicked")??;
        anyhow::ensure!(answer.status == 200, "no switchover: {} {}", answer.status, answer.body);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own() {
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.as_str()), Some(fault));
        }
        assert_eq!(Fault::named("earthquake"), None);
    }
}
