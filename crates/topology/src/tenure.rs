//! Who is the primary, since which epoch, and whether it may be written to.

use crate::{Address, Epoch, NodeName, Refusal, Timeline};

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

/// How the primary of the current epoch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Named by the authority and nothing speaks against it. The login's `in_hot_standby` has
    /// the last word.
    Named,
    /// Named, but no address of it is known.
    NoAddress,
    /// Named, but its timeline is older than one a primary was already seen on.
    OldTimeline,
    /// Named, but the last probe found it in recovery.
    Recovering,
    /// Leads a standby cluster, which takes no writes.
    StandbyLeader,
    /// No primary was ever named.
    Unknown,
}

impl Standing {
    /// Why writes are refused; `None` if they are not.
    pub const fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Named => None,
            Self::NoAddress => Some(Refusal::PrimaryAddressUnknown),
            Self::OldTimeline => Some(Refusal::PrimaryOldTimeline),
            Self::Recovering => Some(Refusal::PrimaryRecovering),
            Self::StandbyLeader => Some(Refusal::StandbyCluster),
            Self::Unknown => Some(Refusal::PrimaryUnknown),
        }
    }
}

/// What is known of the node that the authority names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Evidence<'a> {
    pub(crate) address: Option<&'a Address>,
    /// The highest timeline on which it was seen to be a primary.
    pub(crate) timeline: Option<Timeline>,
    pub(crate) in_recovery: bool,
    pub(crate) standby_leader: bool,
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
}

/// The line of tenures; the one place that counts epochs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Succession {
    epoch: Epoch,
    tenure: Option<Tenure>,
    /// Highest timeline a primary was seen on: never goes back.
    floor: Option<Timeline>,
    standing: Option<Standing>,
}

impl Succession {
    /// The authority names `leader` (or names none: the last tenure goes on).
    pub(crate) fn observe(&mut self, leader: Option<&NodeName>, evidence: Evidence<'_>) {
        let same = |t: &Tenure| leader.is_none_or(|name| *name == t.leader);
        if !self.tenure.as_ref().is_some_and(same)
            && let Some(name) = leader
        {
            self.begin(name.clone());
        }
        let Some(tenure) = &mut self.tenure else { return };

        // A node that moved is another postmaster: connections to the two must not share an epoch.
        let moved = matches!((&tenure.address, evidence.address), (Some(a), Some(b)) if a != b);
        if let Some(address) = evidence.address {
            tenure.address = Some(address.clone());
        }
        // A higher timeline under the same name is another promotion.
        let promoted = tenure.timeline.is_some() && evidence.timeline > tenure.timeline;
        let old = evidence.timeline.is_some() && evidence.timeline < self.floor;
        if evidence.timeline > tenure.above && !old {
            tenure.timeline = evidence.timeline;
            self.floor = evidence.timeline;
        }
        self.standing = Some(if tenure.address.is_none() {
            Standing::NoAddress
        } else if evidence.standby_leader {
            Standing::StandbyLeader
        } else if evidence.in_recovery {
            Standing::Recovering
        } else if old {
            Standing::OldTimeline
        } else {
            Standing::Named
        });
        if moved || promoted {
            self.epoch = self.epoch.next();
        }
    }

    fn begin(&mut self, leader: NodeName) {
        self.epoch = self.epoch.next();
        self.tenure = Some(Tenure { leader, address: None, timeline: None, above: self.floor });
    }

    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) const fn tenure(&self) -> Option<&Tenure> {
        self.tenure.as_ref()
    }

    pub(crate) const fn floor(&self) -> Option<Timeline> {
        self.floor
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing.unwrap_or(Standing::Unknown)
    }
}
