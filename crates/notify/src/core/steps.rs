//! The steps that the core's decisions are made of.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::{
    Batch, Channel, Core, Delivery, Held, Member, Seat, State, Subscription, Wakers, later,
};
use crate::channel::{self, Verb};
use crate::queue::Pushed;
use crate::{Event, HubError};

/// Void seats that may be among those that wait, beside as many as there are subscriptions.
const VOID_MAX: usize = 64;

impl Core {
    /// A client that asks and takes back again must not make the list grow.
    pub(super) fn drop_void_seats(&mut self) {
        if self.waiting.len() > 2 * self.subscriptions + VOID_MAX {
            let members = &self.members;
            self.waiting.retain(|seat| seat.is_valid(members.get(seat.member)));
        }
    }

    /// Chooses who is waited for in the next request: those who wait for one channel that must be
    /// asked for alone, or else all.
    pub(super) fn board(&mut self) -> Batch {
        let members = &self.members;
        self.waiting.retain(|seat| seat.is_valid(members.get(seat.member)));
        let is_alone = |it: &Channel| it.batch == Batch::Alone && it.held == Held::Absent;
        let mut channels = self.waiting.iter().map(|seat| seat.channel);
        let alone = channels.find(|id| self.channels.get(*id).is_some_and(is_alone));
        let Some(alone) = alone else {
            self.boarding = std::mem::take(&mut self.waiting);
            return Batch::Together;
        };
        self.boarding = self.waiting.extract_if(.., |seat| seat.channel == alone).collect();
        Batch::Alone
    }

    /// Asks for the channels of those who board which the server does not have.
    pub(super) fn move_absent(&mut self, text: &mut Vec<u8>) -> Vec<usize> {
        let mut listens = Vec::new();
        for seat in &self.boarding {
            if let Some(channel) = self.channels.get_mut(seat.channel)
                && channel.held == Held::Absent
            {
                channel::put(text, Verb::Listen, &channel.name);
                channel.held = Held::Moving;
                listens.push(seat.channel);
            }
        }
        listens
    }

    /// Gives up the channels that nobody has wanted for a while.
    pub(super) fn move_unused(&mut self, now: Instant, text: &mut Vec<u8>) -> Vec<usize> {
        let mut unlistens = Vec::new();
        while self.unlisten_at().is_some_and(|at| at <= now)
            && let Some((_, id)) = self.unused.pop_first()
        {
            if let Some(channel) = self.channels.get_mut(id) {
                channel::put(text, Verb::Unlisten, &channel.name);
                channel.held = Held::Moving;
                channel.unused_since = None;
                unlistens.push(id);
            }
        }
        unlistens
    }

    /// A subscription is in effect.
    pub(super) fn seat(&mut self, seat: &Seat, wakers: &mut Wakers) {
        let Some(member) = self.members.get_mut(seat.member) else { return };
        let Some(channel) = self.channels.get_mut(seat.channel) else { return };
        if let Some(subscription) = member.holding(seat) {
            subscription.state = State::Effective;
            channel.listeners.push(seat.member);
            member.pending -= 1;
            if member.pending == 0 {
                wakers.extend(member.waker.take());
            }
        }
    }

    /// Withdraws all that these clients have asked for and is not in effect.
    pub(super) fn fail(
        &mut self,
        seats: Vec<Seat>,
        error: &HubError,
        now: Instant,
        wakers: &mut Wakers,
    ) {
        for seat in seats {
            let Some(member) = self.members.get_mut(seat.member) else { continue };
            if member.holding(&seat).is_none() {
                continue;
            }
            member.failed = Some(error.clone());
            member.pending = 0;
            wakers.extend(member.waker.take());
            let is_pending = |it: &mut Subscription| it.state != State::Effective;
            let withdrawn: Vec<_> = member.subscriptions.extract_if(.., is_pending).collect();
            for subscription in &withdrawn {
                self.release(seat.member, subscription, now);
            }
        }
    }

    /// Puts an event down for each of these clients.
    pub(super) fn tell(
        &mut self,
        listeners: Vec<usize>,
        event: &Event,
        now: Instant,
        delivery: &mut Delivery,
    ) {
        for id in listeners {
            let Some(member) = self.members.get_mut(id) else { continue };
            delivery.wakers.extend(member.waker.take());
            match member.queue.push(event.clone(), &self.config) {
                Pushed::Taken => delivery.told += 1,
                Pushed::Overflown => {
                    delivery.lagged += 1;
                    self.unlisten_all(id, now);
                }
            }
        }
    }

    /// A subscription that its client has no more.
    pub(super) fn release(&mut self, id: usize, subscription: &Subscription, now: Instant) {
        self.subscriptions -= 1;
        if self.subscriptions == 0 {
            self.idle_until = later(now, self.config.idle_timeout);
        }
        let Some(channel) = self.channels.get_mut(subscription.channel) else { return };
        channel.wanted -= 1;
        if subscription.state == State::Effective
            && let Some(at) = channel.listeners.iter().position(|it| *it == id)
        {
            channel.listeners.swap_remove(at);
        }
        let held = channel.held;
        if held != Held::Moving {
            self.settle(subscription.channel, held, now);
        }
    }

    /// The server has a channel now, or it has not.
    pub(super) fn settle(&mut self, id: usize, held: Held, now: Instant) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        channel.held = held;
        if held == Held::There {
            channel.batch = Batch::Together;
        }
        if channel.wanted > 0 {
            return;
        }
        match held {
            Held::There => {
                channel.unused_since = Some(now);
                self.unused.insert((now, id));
            }
            Held::Absent | Held::Moving => self.forget(id),
        }
    }

    pub(super) fn forget(&mut self, id: usize) {
        if let Some(channel) = self.channels.try_remove(id) {
            self.names.remove(&channel.name);
        }
    }
}

impl Channel {
    pub(super) fn new(name: Arc<[u8]>) -> Self {
        Self {
            name,
            listeners: Vec::new(),
            wanted: 0,
            held: Held::Absent,
            unused_since: None,
            batch: Batch::Together,
        }
    }
}

impl Member {
    /// Where its subscription to a channel is, or where it would be.
    pub(super) fn find(&self, channel: usize) -> Result<usize, usize> {
        self.subscriptions.binary_search_by_key(&channel, |it| it.channel)
    }

    /// Adds one that it does not have.
    pub(super) fn add(&mut self, channel: usize, ticket: u64) {
        let at = self.find(channel).unwrap_or_else(|at| at);
        self.subscriptions.insert(at, Subscription { channel, state: State::Pending { ticket } });
        self.pending += 1;
    }

    pub(super) fn remove(&mut self, at: usize) -> Subscription {
        let subscription = self.subscriptions.remove(at);
        if subscription.state != State::Effective {
            self.pending -= 1;
        }
        subscription
    }

    /// The subscription that a seat was taken for, if it is still to come.
    pub(super) fn holding(&mut self, seat: &Seat) -> Option<&mut Subscription> {
        let at = self.find(seat.channel).ok()?;
        let subscription = self.subscriptions.get_mut(at)?;
        (subscription.state == State::Pending { ticket: seat.ticket }).then_some(subscription)
    }

    /// One task waits at a time.
    pub(super) fn register(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }
}

impl Seat {
    pub(super) fn is_valid(&self, member: Option<&Member>) -> bool {
        let pending = State::Pending { ticket: self.ticket };
        member.is_some_and(|member| {
            let at = member.find(self.channel).ok();
            at.and_then(|at| member.subscriptions.get(at)).is_some_and(|it| it.state == pending)
        })
    }
}
