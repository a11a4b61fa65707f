//! The hub's decisions, pure: who wants which channel, what the server is asked next, who is
//! told what. Time is an argument.
//!
//! A client counts as listening from the answer to a request that was sent after it had asked,
//! even where the server listens already: what was notified before it asked comes before that
//! answer, and is not for it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

use crate::channel::{self, Verb};
use crate::queue::Queue;
use crate::{Config, Event, HubError, Notification};

mod steps;

/// One hub.
#[derive(Debug)]
pub(crate) struct Core {
    config: Config,
    names: HashMap<Arc<[u8]>, usize>,
    channels: Slab<Channel>,
    members: Slab<Member>,
    /// Of all members.
    subscriptions: usize,
    /// Subscriptions that no request was sent for.
    waiting: Vec<Seat>,
    /// Those of the request under way.
    boarding: Vec<Seat>,
    /// Channels that the server has and nobody wants, and since when.
    unused: BTreeSet<(Instant, usize)>,
    link: Link,
    /// The request under way.
    request: Option<Request>,
    last_ticket: u64,
    /// Until when a session stays on which nobody wants any channel.
    idle_until: Instant,
}

/// How the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Away,
    /// Asked for the channels of the connection before.
    Restoring,
    /// The server has all channels that have listeners.
    Live,
}

#[derive(Debug)]
struct Channel {
    name: Arc<[u8]>,
    /// Who gets its notifications.
    listeners: Vec<usize>,
    /// Subscriptions, in effect or not.
    wanted: usize,
    held: Held,
    /// When `wanted` has become zero, if the server has it.
    unused_since: Option<Instant>,
    batch: Batch,
}

/// Whether the server has a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Absent,
    /// Part of the request under way.
    Moving,
    There,
}

/// Whether a channel is asked for together with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batch {
    Together,
    /// It was in a request that the server has refused: it must not fail others again.
    Alone,
}

/// One client.
#[derive(Debug, Default)]
struct Member {
    /// By channel.
    subscriptions: Vec<Subscription>,
    /// How many of them are not in effect.
    pending: usize,
    queue: Queue,
    failed: Option<HubError>,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Subscription {
    channel: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Pending { ticket: u64 },
    Effective,
}

/// A subscription on its way. Void if the member has another ticket by now, or none.
#[derive(Debug)]
struct Seat {
    member: usize,
    channel: usize,
    ticket: u64,
    since: Instant,
}

#[derive(Debug)]
struct Request {
    listens: Vec<usize>,
    unlistens: Vec<usize>,
}

/// Limits beyond it are none.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// `from` plus a limit that may be without end.
pub(crate) fn later(from: Instant, by: Duration) -> Instant {
    from + by.min(A_YEAR)
}

/// Whom to wake, once the lock is released.
pub(crate) type Wakers = Vec<Waker>;

/// What an event for many came to.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    pub(crate) wakers: Wakers,
    /// How many were told.
    pub(crate) told: usize,
    /// How many had no room for it, and are told that instead.
    pub(crate) lagged: usize,
}

/// What to make of a request that the server has refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Those concerned were told, or others are asked in another way.
    Settled(Wakers),
    /// It is not to be explained: the connection must end.
    Broken,
}

impl Core {
    pub(crate) fn new(config: Config, now: Instant) -> Self {
        Self {
            config,
            names: HashMap::new(),
            channels: Slab::new(),
            members: Slab::new(),
            subscriptions: 0,
            waiting: Vec::new(),
            boarding: Vec::new(),
            unused: BTreeSet::new(),
            link: Link::Away,
            request: None,
            last_ticket: 0,
            idle_until: now,
        }
    }

    // What a client asks.

    pub(crate) fn join(&mut self) -> usize {
        self.members.insert(Member::default())
    }

    pub(crate) fn leave(&mut self, id: usize, now: Instant) {
        self.unlisten_all(id, now);
        self.members.try_remove(id);
    }

    /// Subscribes. `true` if the server has to be asked.
    pub(crate) fn listen(
        &mut self,
        id: usize,
        name: &[u8],
        now: Instant,
    ) -> Result<bool, HubError> {
        channel::check_name(name)?;
        let Some(member) = self.members.get_mut(id) else { return Ok(false) };
        if member.queue.is_lagged() {
            return Err(HubError::Lagged);
        }
        let known = self.names.get(name).copied();
        let place = known.map(|channel| member.find(channel));
        if let Some(Ok(_)) = place {
            return Ok(false);
        }
        if self.subscriptions >= self.config.max_subscriptions {
            return Err(HubError::TooManySubscriptions);
        }
        if known.is_none() && self.channels.len() >= self.config.max_channels {
            return Err(HubError::TooManyChannels);
        }
        let channel = known.unwrap_or_else(|| {
            let name: Arc<[u8]> = name.into();
            let channel = self.channels.insert(Channel::new(Arc::clone(&name)));
            self.names.insert(name, channel);
            channel
        });
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        member.add(channel, ticket);
        self.waiting.push(Seat { member: id, channel, ticket, since: now });
        self.subscriptions += 1;
        self.drop_void_seats();
        if let Some(it) = self.channels.get_mut(channel) {
            it.wanted += 1;
            if let Some(since) = it.unused_since.take() {
                self.unused.remove(&(since, channel));
            }
        }
        Ok(true)
    }

    pub(crate) fn unlisten(&mut self, id: usize, name: &[u8], now: Instant) {
        let Some(&channel) = self.names.get(name) else { return };
        let Some(member) = self.members.get_mut(id) else { return };
        if let Ok(at) = member.find(channel) {
            let subscription = member.remove(at);
            self.release(id, &subscription, now);
        }
    }

    pub(crate) fn unlisten_all(&mut self, id: usize, now: Instant) {
        let Some(member) = self.members.get_mut(id) else { return };
        let subscriptions = std::mem::take(&mut member.subscriptions);
        member.pending = 0;
        for subscription in &subscriptions {
            self.release(id, subscription, now);
        }
    }

    /// The names of the channels that a client wants.
    pub(crate) fn channels_of(&self, id: usize) -> Vec<Arc<[u8]>> {
        let subscriptions = self.members.get(id).map_or(&[][..], |it| &it.subscriptions);
        let name = |it: &Subscription| self.channels.get(it.channel).map(|it| Arc::clone(&it.name));
        subscriptions.iter().filter_map(name).collect()
    }

    pub(crate) fn poll_ready(&mut self, id: usize, cx: &Context<'_>) -> Poll<Result<(), HubError>> {
        let Some(member) = self.members.get_mut(id) else { return Poll::Ready(Ok(())) };
        if let Some(error) = member.failed.take() {
            return Poll::Ready(Err(error));
        }
        let is_ready =
            member.pending == 0 && (self.link == Link::Live || member.subscriptions.is_empty());
        if is_ready {
            return Poll::Ready(Ok(()));
        }
        member.register(cx.waker());
        Poll::Pending
    }

    pub(crate) fn poll_next(&mut self, id: usize, cx: &Context<'_>) -> Poll<Event> {
        let Some(member) = self.members.get_mut(id) else { return Poll::Pending };
        if let Some(event) = member.queue.pop() {
            return Poll::Ready(event);
        }
        member.register(cx.waker());
        Poll::Pending
    }

    /// A session that nobody wants is in somebody's way.
    pub(crate) fn hasten(&mut self, now: Instant) {
        self.idle_until = now;
    }

    // What the connection meets with.

    /// A session is there. The text of its first request, if it has to be asked for anything
    /// before it is as the one before.
    pub(crate) fn connected(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        let mut listens = Vec::new();
        for (id, channel) in &mut self.channels {
            if !channel.listeners.is_empty() {
                channel::put(&mut text, Verb::Listen, &channel.name);
                channel.held = Held::Moving;
                listens.push(id);
            }
        }
        if listens.is_empty() {
            self.link = Link::Live;
            return None;
        }
        self.link = Link::Restoring;
        self.request = Some(Request { listens, unlistens: Vec::new() });
        Some(text)
    }

    /// The session has gone. Whoever listened goes on to, in the next one.
    pub(crate) fn lost(&mut self) {
        self.link = Link::Away;
        self.request = None;
        self.waiting.append(&mut self.boarding);
        self.unused.clear();
        let mut forgotten = Vec::new();
        for (id, channel) in &mut self.channels {
            channel.held = Held::Absent;
            channel.unused_since = None;
            if channel.wanted == 0 {
                forgotten.push(id);
            }
        }
        forgotten.into_iter().for_each(|id| self.forget(id));
    }

    /// The text of the next request, if none is under way and there is something to ask.
    pub(crate) fn request(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.link != Link::Live || self.request.is_some() {
            return None;
        }
        let batch = self.board();
        let mut text = Vec::new();
        let listens = self.move_absent(&mut text);
        let unlistens = match batch {
            Batch::Together => self.move_unused(now, &mut text),
            Batch::Alone => Vec::new(),
        };
        if self.boarding.is_empty() && unlistens.is_empty() {
            return None;
        }
        self.request = Some(Request { listens, unlistens });
        Some(text)
    }

    /// The request under way was answered, its transaction committed.
    pub(crate) fn answered(&mut self, now: Instant) -> Delivery {
        let mut delivery = Delivery::default();
        let Some(request) = self.request.take() else { return delivery };
        for seat in std::mem::take(&mut self.boarding) {
            self.seat(&seat, &mut delivery.wakers);
        }
        for id in request.listens {
            self.settle(id, Held::There, now);
        }
        for id in request.unlistens {
            self.settle(id, Held::Absent, now);
        }
        if self.link == Link::Restoring {
            self.link = Link::Live;
            let listens = |it: &Subscription| it.state == State::Effective;
            let listen = |(_, it): &(usize, &Member)| it.subscriptions.iter().any(listens);
            let listeners = self.members.iter().filter(listen).map(|(id, _)| id).collect();
            self.tell(listeners, &Event::Resumed, now, &mut delivery);
        }
        delivery
    }

    /// The request under way was refused, and nothing of it is in effect.
    pub(crate) fn refused(&mut self, error: &HubError, now: Instant) -> Refused {
        let Some(Request { listens, unlistens }) = self.request.take() else {
            return Refused::Broken;
        };
        if self.link != Link::Live || listens.is_empty() {
            return Refused::Broken;
        }
        let boarding = std::mem::take(&mut self.boarding);
        for &id in &unlistens {
            self.settle(id, Held::There, now);
        }
        let mut wakers = Vec::new();
        if let ([culprit], []) = (&listens[..], &unlistens[..]) {
            let (refused, others) = boarding.into_iter().partition(|it| it.channel == *culprit);
            self.waiting.splice(..0, others);
            self.fail(refused, error, now, &mut wakers);
        } else {
            self.waiting.splice(..0, boarding);
            for &id in &listens {
                if let Some(channel) = self.channels.get_mut(id) {
                    channel.batch = Batch::Alone;
                }
            }
        }
        for &id in &listens {
            self.settle(id, Held::Absent, now);
        }
        Refused::Settled(wakers)
    }

    /// Fails those who have waited since `before` for a channel to be in effect.
    pub(crate) fn expire(&mut self, before: Instant, error: &HubError, now: Instant) -> Wakers {
        let mut wakers = Vec::new();
        let waiting = std::mem::take(&mut self.waiting);
        let (late, others) = waiting.into_iter().partition(|seat| seat.since <= before);
        self.waiting = others;
        self.fail(late, error, now, &mut wakers);
        wakers
    }

    /// A notification has come.
    pub(crate) fn notified(&mut self, notification: &Notification, now: Instant) -> Delivery {
        let mut delivery = Delivery::default();
        // Of a session that is not yet as the one before: all are told that this may be lost.
        if self.link != Link::Live {
            return delivery;
        }
        let channel = self.names.get(notification.channel());
        let Some(channel) = channel.and_then(|id| self.channels.get(*id)) else { return delivery };
        let listeners = channel.listeners.clone();
        self.tell(listeners, &Event::Notification(notification.clone()), now, &mut delivery);
        delivery
    }

    // What there is.

    /// Whether any client is there, whatever it wants.
    pub(crate) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    /// Whether any channel is wanted.
    pub(crate) fn is_wanted(&self) -> bool {
        self.subscriptions > 0
    }

    /// Until when the session stays, if none is.
    pub(crate) fn idle_until(&self) -> Option<Instant> {
        (!self.is_wanted()).then_some(self.idle_until)
    }

    /// Whether a subscription waits for its request.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When the first unused channel is given up.
    pub(crate) fn unlisten_at(&self) -> Option<Instant> {
        self.unused.first().map(|(since, _)| later(*since, self.config.unlisten_delay))
    }

    /// Whether there is a session.
    pub(crate) fn is_connected(&self) -> bool {
        self.link != Link::Away
    }

    /// Clients that want some channel, and channels that are wanted.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let clients = self.members.iter().filter(|(_, it)| !it.subscriptions.is_empty());
        let channels = self.channels.iter().filter(|(_, it)| it.wanted > 0);
        (clients.count(), channels.count())
    }
}

#[cfg(test)]
impl Core {
    pub(crate) fn is_boarding(&self, id: usize, name: &[u8]) -> bool {
        self.boarding.iter().any(|seat| self.is_seat_of(seat, id, name))
    }

    pub(crate) fn waits_since(&self, id: usize, name: &[u8]) -> Option<Instant> {
        self.waiting.iter().find(|seat| self.is_seat_of(seat, id, name)).map(|seat| seat.since)
    }

    fn is_seat_of(&self, seat: &Seat, id: usize, name: &[u8]) -> bool {
        let is_of = seat.member == id && self.names.get(name) == Some(&seat.channel);
        is_of && seat.is_valid(self.members.get(id))
    }

    pub(crate) fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn assert_empty_but(&self, names: &[Vec<u8>]) {
        assert_eq!((self.channels.len(), self.names.len()), (names.len(), names.len()));
        assert!(names.iter().all(|name| self.names.contains_key(&**name)));
        assert!(self.waiting.is_empty() && self.boarding.is_empty() && self.unused.is_empty());
    }
}
