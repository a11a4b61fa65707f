//! How fast a node is asked. Pure.

use std::time::Duration;

use topology::{Address, NodeName, Outcome, Snapshot, Standing};

use crate::Config;

/// While an answer is waited for, the questions take so much of the time that was waited already:
/// who has waited for a minute does not notice 60 ms, and the node does notice the questions.
const SHARE: u32 = 1000;

/// How fast a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Nobody waits.
    Leisurely,
    /// Everybody waits for what this node says, or soon will.
    Urgent,
}

impl Pace {
    /// What a snapshot asks of a node, whose `last` answer is given. The primary that has something
    /// to prove, or has just fallen silent, is urgent; and so is whoever is the likeliest to
    /// follow one that goes.
    pub(crate) fn of(
        snapshot: &Snapshot,
        name: &NodeName,
        address: &Address,
        last: Option<Outcome>,
    ) -> Self {
        let silent = matches!(last, Some(Outcome::Gone | Outcome::Unreachable));
        let awaited = match snapshot.standing() {
            Standing::OldTimeline
            | Standing::Promoting
            | Standing::Recovering
            | Standing::Suspect
            | Standing::Unproven => snapshot.primary(),
            Standing::LeaderGone | Standing::SwitchingOver => snapshot.candidates().first(),
            // What comes back may be a standby, or on another timeline.
            Standing::Named | Standing::Proven if silent => snapshot.primary(),
            Standing::Named
            | Standing::NoAddress
            | Standing::Proven
            | Standing::StandbyLeader
            | Standing::Unknown => None,
        };
        match awaited {
            Some(node) if node.name == *name && node.address == *address => Self::Urgent,
            Some(_) | None => Self::Leisurely,
        }
    }

    /// From one urgent question to the next.
    pub(crate) fn urgent_interval(waited: Duration, last: Outcome) -> Duration {
        let shortest = match last {
            Outcome::Answered { .. } => Config::URGENT_INTERVAL,
            Outcome::Gone | Outcome::Refused | Outcome::Unreachable => Config::URGENT_RECONNECT,
        };
        shortest.max(waited / SHARE)
    }

    /// Longest wait for an urgent answer. It grows, for a node may be too busy for less.
    pub(crate) fn urgent_timeout(waited: Duration) -> Duration {
        Config::URGENT_TIMEOUT.max(waited / 4)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use topology::{
        Authority, Change, Event, Machine, Member, NodeState, Now, Probe, Proof, Replay, Revision,
        Role, Timeline,
    };

    use super::*;

    struct Cluster {
        machine: Machine,
        revision: u64,
    }

    impl Cluster {
        fn led_by_n1() -> Self {
            let rules = topology::Config { proof: Proof::Required, ..topology::Config::default() };
            let machine = Machine::new(Authority::LeaderKey, rules);
            let mut cluster = Self { machine, revision: 0 };
            for (name, role) in
                [("n1", Role::Primary), ("n2", Role::Replica), ("n3", Role::Replica)]
            {
                let member = Member {
                    address: address(name),
                    role,
                    state: NodeState::Running,
                    timeline: Some(Timeline(1)),
                    replay: Replay::Unknown,
                    noloadbalance: false,
                    nofailover: false,
                };
                cluster.change(Change::Member(node(name), Some(member)));
            }
            cluster.change(Change::Leader(Some(node("n1"))));
            cluster
        }

        fn change(&mut self, change: Change) {
            self.revision += 1;
            self.apply(Event::Change { revision: Revision(self.revision), change });
        }

        fn apply(&mut self, event: Event) {
            let now = Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };
            self.machine.apply(event, now);
        }

        /// The nodes that are asked urgently, if every node has last answered so.
        fn urgent(&self, last: Outcome) -> Vec<&'static str> {
            let pace =
                |name| Pace::of(self.machine.snapshot(), &node(name), &address(name), Some(last));
            ["n1", "n2", "n3"].into_iter().filter(|name| pace(name) == Pace::Urgent).collect()
        }
    }

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn address(name: &str) -> Address {
        Address::new(name, 5432).unwrap()
    }

    const PRIMARY: Outcome =
        Outcome::Answered { in_recovery: false, timeline: Some(Timeline(1)), position: None };

    #[test]
    fn the_node_that_is_waited_for_is_asked_urgently() {
        let mut cluster = Cluster::led_by_n1();
        assert_eq!(cluster.urgent(PRIMARY), ["n1"], "unproven");
        let round = cluster.machine.snapshot().round();
        let (node, address) = (node("n1"), address("n1"));
        cluster.apply(Event::Probe(Probe { node, address, round, outcome: PRIMARY }));
        assert_eq!(cluster.urgent(PRIMARY), [""; 0]);
        assert_eq!(cluster.urgent(Outcome::Unreachable), ["n1"], "what comes back may be another");
        cluster.change(Change::Leader(None));
        assert_eq!(cluster.urgent(PRIMARY), ["n2"], "the likeliest to follow");
    }

    #[test]
    fn whoever_has_waited_long_is_asked_for_less_often_and_longer() {
        let ms = Duration::from_millis;
        assert_eq!(Pace::urgent_interval(ms(100), PRIMARY), ms(5));
        assert_eq!(Pace::urgent_interval(ms(100), Outcome::Gone), ms(25));
        assert_eq!(Pace::urgent_interval(ms(60_000), Outcome::Gone), ms(60));
        assert_eq!(Pace::urgent_timeout(ms(100)), ms(500));
        assert_eq!(Pace::urgent_timeout(ms(8_000)), ms(2_000));
    }
}
