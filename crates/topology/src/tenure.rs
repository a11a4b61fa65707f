//! Who is the primary, since which epoch, and whether it may be written to.

use std::time::Duration;

use crate::{Address, Epoch, Fence, NodeName, Outcome, Refusal, Round, Timeline};

/// From one suspicion that is honoured to the next of the same epoch: a client in a read-only
/// transaction makes 25006 as often as it likes, and must not stop everybody.
const SUSPICION_INTERVAL: Duration = Duration::from_secs(1);

/// Who says which node is the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The source's leader key.
    LeaderKey,
    /// Probes of the nodes: the one that is not in recovery. For lists without a store.
    ///
    /// A different node is believed only on a higher timeline, which every promotion brings: two
    /// nodes that both claim the same one are a split brain or strangers.
    Probes,
}

/// What a named primary has to show before it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing in advance: each login's `in_hot_standby` has the last word. For when nobody
    /// probes.
    ByLogin,
    /// A probe that was begun in its tenure and found it out of recovery.
    Required,
}

/// How the primary of the current epoch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The leader key is gone, and not for maintenance. Nothing starts until it is back or
    /// another node has it; what runs goes on.
    LeaderGone,
    /// Named by the authority and nothing speaks against it; there is no prober, or it may not
    /// log in. The login's `in_hot_standby` has the last word.
    Named,
    /// Named, but no address of it is known.
    NoAddress,
    /// Named, but its timeline is older than one a primary was already seen on.
    OldTimeline,
    /// Named, and still in recovery: its promotion is under way.
    Promoting,
    /// A probe of this tenure found it out of recovery.
    Proven,
    /// It took writes in this tenure, and the last probe found it in recovery.
    Recovering,
    /// Leads a standby cluster, which takes no writes.
    StandbyLeader,
    /// One of its servers said that it is read-only; the next probe tells.
    Suspect,
    /// A switchover was asked for: what runs may end, nothing starts.
    SwitchingOver,
    /// No primary was ever named.
    Unknown,
    /// Named, and no probe of this tenure has proven it yet.
    Unproven,
}

/// What is known of the node that the authority names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Evidence<'a> {
    pub(crate) address: Option<&'a Address>,
    /// The highest timeline on which it was seen to be a primary.
    pub(crate) timeline: Option<Timeline>,
    pub(crate) standby_leader: bool,
}

/// What stops new transactions without saying anything about the primary itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The leader key is gone.
    LeaderGone,
    /// A switchover is under way.
    SwitchingOver,
}

/// One tenure: lasts until another node, address or timeline takes over.
#[derive(Clone, Debug)]
pub(crate) struct Tenure {
    pub(crate) leader: NodeName,
    /// Kept when the member record goes: only the authority ends a tenure.
    pub(crate) address: Option<Address>,
    /// Unknown until the node was seen as a primary: a leader key is put before the promotion.
    timeline: Option<Timeline>,
    /// The floor when the tenure began. Every promotion makes a higher timeline, so a record
    /// that still has this one was written before it.
    above: Option<Timeline>,
    /// The timeline on which a probe of this tenure last found it to be a primary. Records and
    /// probes have no order between them, and a record is late by up to one `loop_wait`: one with
    /// an older timeline tells of the time before that probe.
    probed: Option<Timeline>,
    /// The last evidence has a timeline below the floor, and no probe has found it on the floor.
    old: bool,
    standby_leader: bool,
}

/// What the probes of an epoch have made of its primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// The login has the last word.
    Named,
    /// A primary, on a timeline that is over.
    Outdated,
    /// In recovery, and never trusted before.
    Promoting,
    /// Out of recovery.
    Proven,
    /// In recovery, after it was trusted.
    Recovering,
    /// Proven before a server of it said that it is read-only.
    Suspect,
    /// Not asked yet.
    Unproven,
}

/// The line of tenures; the one place that counts epochs.
#[derive(Clone, Debug)]
pub(crate) struct Succession {
    proof: Proof,
    epoch: Epoch,
    round: Round,
    tenure: Option<Tenure>,
    /// Highest timeline a primary was seen on: never goes back.
    floor: Option<Timeline>,
    trust: Trust,
    /// The last suspicion that was honoured.
    suspected: Option<(Epoch, Duration)>,
}

// === impl Standing ===

impl Standing {
    /// Why new transactions that write are refused; `None` if they are not.
    pub const fn refusal(self) -> Option<Refusal> {
        Some(match self {
            Self::Named | Self::Proven => return None,
            Self::LeaderGone => Refusal::LeaderGone,
            Self::NoAddress => Refusal::PrimaryAddressUnknown,
            Self::OldTimeline => Refusal::PrimaryOldTimeline,
            Self::Promoting => Refusal::PrimaryPromoting,
            Self::Recovering => Refusal::PrimaryRecovering,
            Self::StandbyLeader => Refusal::StandbyCluster,
            Self::Suspect => Refusal::PrimarySuspect,
            Self::SwitchingOver => Refusal::SwitchingOver,
            Self::Unknown => Refusal::PrimaryUnknown,
            Self::Unproven => Refusal::PrimaryUnproven,
        })
    }

    /// What becomes of the epoch's read-write servers.
    pub const fn fence(self) -> Fence {
        match self {
            Self::Named | Self::Proven => Fence::Open,
            Self::LeaderGone
            | Self::Promoting
            | Self::Suspect
            | Self::SwitchingOver
            | Self::Unproven => Fence::Held,
            Self::NoAddress
            | Self::OldTimeline
            | Self::Recovering
            | Self::StandbyLeader
            | Self::Unknown => Fence::Close,
        }
    }

    /// A short text for metric labels, status pages and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LeaderGone => "leader_gone",
            Self::Named => "named",
            Self::NoAddress => "no_address",
            Self::OldTimeline => "old_timeline",
            Self::Promoting => "promoting",
            Self::Proven => "proven",
            Self::Recovering => "recovering",
            Self::StandbyLeader => "standby_leader",
            Self::Suspect => "suspect",
            Self::SwitchingOver => "switching_over",
            Self::Unknown => "unknown",
            Self::Unproven => "unproven",
        }
    }
}

// === impl Succession ===

impl Succession {
    pub(crate) const fn new(proof: Proof) -> Self {
        Self {
            proof,
            epoch: Epoch::NONE,
            round: Round::FIRST,
            tenure: None,
            floor: None,
            trust: untested(proof),
            suspected: None,
        }
    }

    /// The authority names `leader` (or names none: the last tenure goes on).
    pub(crate) fn observe(&mut self, leader: Option<&NodeName>, evidence: Evidence<'_>) {
        let same = |t: &Tenure| leader.is_none_or(|name| *name == t.leader);
        if !self.tenure.as_ref().is_some_and(same)
            && let Some(name) = leader
        {
            self.tenure = Some(Tenure::new(name.clone(), self.floor));
            self.next_epoch();
        }
        let Some(tenure) = &mut self.tenure else { return };

        // A node that moved is another postmaster: connections to the two must not share an epoch.
        let moved = matches!((&tenure.address, evidence.address), (Some(a), Some(b)) if a != b);
        if let Some(address) = evidence.address {
            tenure.address = Some(address.clone());
        }
        // A higher timeline under the same name is another promotion.
        let promoted = tenure.timeline.is_some() && evidence.timeline > tenure.timeline;
        if moved {
            tenure.probed = None;
        }
        let behind = evidence.timeline.is_some() && evidence.timeline < self.floor;
        tenure.old = behind && tenure.probed < self.floor;
        if evidence.timeline > tenure.above && !behind {
            tenure.timeline = evidence.timeline;
            self.floor = evidence.timeline;
        }
        tenure.standby_leader = evidence.standby_leader;
        if moved || promoted {
            self.next_epoch();
        }
    }

    /// Takes what a probe of the tenure's primary found, begun in the current round.
    pub(crate) fn judge(&mut self, outcome: &Outcome) {
        // It takes nothing from anybody: its servers have gone. What starts there next may start
        // as a standby, and on another timeline.
        let trusted = matches!(self.trust, Trust::Named | Trust::Proven | Trust::Suspect);
        let asks = self.proof == Proof::Required || self.trust == Trust::Suspect;
        if *outcome == Outcome::Gone && trusted && asks {
            self.doubt();
        }
        self.trust = match (outcome, self.trust) {
            (Outcome::Answered { in_recovery: false, timeline, .. }, _) => {
                let old = timeline.is_some() && *timeline < self.floor;
                if let Some(tenure) = &mut self.tenure {
                    tenure.probed = timeline.or(tenure.probed);
                }
                if old { Trust::Outdated } else { Trust::Proven }
            }
            (Outcome::Answered { .. }, Trust::Unproven | Trust::Promoting) => Trust::Promoting,
            (Outcome::Answered { .. }, _) => Trust::Recovering,
            (Outcome::Refused, Trust::Unproven | Trust::Suspect) => Trust::Named,
            (Outcome::Gone | Outcome::Refused | Outcome::Unreachable, trust) => trust,
        };
    }

    /// Asks for proof anew: whatever was proven was proven before something that may have
    /// changed it.
    pub(crate) const fn doubt(&mut self) {
        self.trust = untested(self.proof);
        self.round = self.round.next();
    }

    /// As [`Self::doubt`], if what is known speaks against the primary.
    pub(crate) const fn reconsider(&mut self) {
        if matches!(self.trust, Trust::Outdated | Trust::Promoting | Trust::Recovering) {
            self.doubt();
        }
    }

    /// A server of `epoch` said that it is read-only. Whether that is believed.
    pub(crate) fn suspect(&mut self, epoch: Epoch, now: Duration) -> bool {
        let recently = self
            .suspected
            .is_some_and(|(of, at)| of == epoch && now.saturating_sub(at) < SUSPICION_INTERVAL);
        if epoch != self.epoch || self.trust != Trust::Proven || recently {
            return false;
        }
        self.suspected = Some((epoch, now));
        self.trust = Trust::Suspect;
        self.round = self.round.next();
        true
    }

    const fn next_epoch(&mut self) {
        self.epoch = self.epoch.next();
        self.doubt();
    }

    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) const fn round(&self) -> Round {
        self.round
    }

    pub(crate) const fn tenure(&self) -> Option<&Tenure> {
        self.tenure.as_ref()
    }

    /// Whether `name` is the primary.
    pub(crate) fn is_led_by(&self, name: &NodeName) -> bool {
        self.tenure.as_ref().is_some_and(|tenure| tenure.leader == *name)
    }

    pub(crate) const fn floor(&self) -> Option<Timeline> {
        self.floor
    }

    /// What is certain goes before what stops, and that before what is merely not yet known.
    pub(crate) fn standing(&self, stop: Option<Stop>) -> Standing {
        let Some(tenure) = &self.tenure else { return Standing::Unknown };
        if tenure.address.is_none() {
            return Standing::NoAddress;
        }
        if tenure.standby_leader {
            return Standing::StandbyLeader;
        }
        match (self.trust, stop) {
            (Trust::Recovering, _) => Standing::Recovering,
            (Trust::Outdated, _) => Standing::OldTimeline,
            _ if tenure.old => Standing::OldTimeline,
            (_, Some(Stop::LeaderGone)) => Standing::LeaderGone,
            (_, Some(Stop::SwitchingOver)) => Standing::SwitchingOver,
            (Trust::Promoting, None) => Standing::Promoting,
            (Trust::Suspect, None) => Standing::Suspect,
            (Trust::Unproven, None) => Standing::Unproven,
            (Trust::Named, None) => Standing::Named,
            (Trust::Proven, None) => Standing::Proven,
        }
    }
}

impl Tenure {
    const fn new(leader: NodeName, floor: Option<Timeline>) -> Self {
        Self {
            leader,
            address: None,
            timeline: None,
            above: floor,
            probed: None,
            old: false,
            standby_leader: false,
        }
    }
}

const fn untested(proof: Proof) -> Trust {
    match proof {
        Proof::ByLogin => Trust::Named,
        Proof::Required => Trust::Unproven,
    }
}
