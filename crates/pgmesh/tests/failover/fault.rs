//! The faults, and how they are mended.

use std::time::Duration;

use testbed::{Cluster, Interrupt, until};

/// What happens to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Somebody asks for it.
    Switchover,
    /// The postmaster is killed; Patroni starts it again where it was.
    Postmaster,
    /// Postgres and Patroni are killed.
    Node,
    /// All its processes stop for a while.
    Hang,
    /// Its cable is pulled.
    Partition,
    /// Etcd is away for a while, and the leader is well.
    Store,
    /// Etcd dies, the leader dies, etcd comes back.
    StoreAndNode,
}

/// What a fault makes of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Another node leads.
    NewLeader,
    /// The same node leads, with other server processes.
    NewServers,
    /// Nothing.
    None,
}

const MENDED: Duration = Duration::from_secs(120);

/// From one push of the log to the next, and how many.
const BETWEEN: Duration = Duration::from_secs(8);
const PUSHES: u32 = 6;

impl Fault {
    pub(crate) fn effect(self) -> Effect {
        match self {
            Self::Postmaster => Effect::NewServers,
            Self::Store => Effect::None,
            _ => Effect::NewLeader,
        }
    }

    /// Makes it happen to `leader`.
    pub(crate) fn strike(self, cluster: &mut Cluster, leader: &str) {
        match self {
            Self::Switchover => {
                let next = cluster.synchronous().unwrap().name().to_owned();
                cluster.switchover(&next).unwrap();
            }
            Self::Postmaster => {
                let node = cluster.node(leader).unwrap();
                let started = || node.superuser().psql("SELECT pg_postmaster_start_time()");
                let before = started().unwrap();
                cluster.kill_postmaster(leader).unwrap();
                let again = || Ok(started().ok().filter(|after| *after != before));
                until("the postmaster again", MENDED, &Interrupt::default(), again).unwrap();
            }
            Self::Node => cluster.kill(leader).unwrap(),
            Self::Hang => cluster.freeze(leader).unwrap(),
            Self::Partition => cluster.cut(leader).unwrap(),
            Self::Store => cluster.etcd_mut().kill(),
            Self::StoreAndNode => {
                cluster.etcd_mut().kill();
                cluster.kill(leader).unwrap();
                cluster.etcd_mut().restart().unwrap();
            }
        }
    }

    /// Makes it good again, once everybody has gone on.
    pub(crate) fn mend(self, cluster: &mut Cluster, leader: &str) {
        match self {
            Self::Switchover | Self::Postmaster => {}
            Self::Node | Self::StoreAndNode => cluster.restart(leader).unwrap(),
            // Patroni 3.0.2, woken, may take the key back that another has by now, and the cluster
            // returns to the old timeline. That is not what is looked at here.
            Self::Hang => {
                cluster.kill(leader).unwrap();
                cluster.restart(leader).unwrap();
            }
            Self::Partition => cluster.mend(leader).unwrap(),
            Self::Store => cluster.etcd_mut().restart().unwrap(),
        }
        let mut pushed = Ok(String::new());
        for _ in 0..PUSHES {
            if cluster.wait_ready(BETWEEN).is_ok() {
                return;
            }
            // A node that was leader may be ahead of where an idle new one writes.
            pushed = cluster.psql("SELECT pg_create_restore_point('push')");
            pushed = pushed.and_then(|_| cluster.psql("SELECT pg_switch_wal()"));
        }
        // Patroni may not see that a node has to be rewound.
        for straggler in cluster.stragglers().unwrap() {
            cluster.reinitialize(&straggler).unwrap();
        }
        let ready = cluster.wait_ready(MENDED);
        assert!(ready.is_ok(), "not whole, and the log was pushed with {pushed:?}: {ready:?}");
    }
}
